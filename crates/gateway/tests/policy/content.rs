//! What is found, and what is not, in cases that were thought of by hand.

use super::*;

#[test]
fn national_numbers() {
    let scanner = &SCANNER;
    for (text, want) in [
        ("NI number AB 12 34 56 C", "uk-nino"),
        ("NHS no. 943 476 5919", "uk-nhs"),
        ("meine Steuer-ID ist 86 095 742 719", "de-tax"),
        ("n° sécu 2 95 10 99 126 111 93", "fr-nir"),
        ("DNI 12345678Z", "es-dni"),
        ("NIE X-1234567-L", "es-nie"),
        ("RSSMRA85T10A562S", "it-cf"),
        ("bsn: 111222333", "nl-bsn"),
        ("85.07.30-033.28", "be-nn"),
        ("PESEL 44051401359", "pl-pesel"),
        ("811218-9876", "se-pnr"),
        ("131052-308T", "fi-hetu"),
        ("CPF 529.982.247-25", "br-cpf"),
        ("11.222.333/0001-81", "br-cnpj"),
        ("11010519491231002X", "cn-id"),
        ("my TFN is 123 456 782", "au-tfn"),
        ("SIN 130 692 544", "ca-sin"),
        ("AHV 756.9217.0769.85", "ch-ahv"),
        ("S1234567D", "sg-nric"),
        ("ITIN 912-70-1234", "us-itin"),
        ("ssn 308630237", "us-ssn"),
        ("BOXW310820HNERXN09", "mx-curp"),
        ("СНИЛС (snils) 112-233-445 95", "ru-snils"),
        ("PAN card ABCPE1234F", "in-pan"),
    ] {
        let want = format!("national-id/{want}");
        let found = kinds(scanner, text);
        assert!(found.contains(&want), "{text}: {found:?}");
    }
}

#[test]
fn other_personal_data() {
    let scanner = &SCANNER;
    for (text, want) in [
        ("call +49 30 901820 tomorrow", "phone"),
        ("(212) 555-0143", "phone"),
        ("tel. 785 8949", "phone"),
        ("pay to DE89 3704 0044 0532 0130 00 please", "iban"),
        ("amex 3782 822463 10005", "card"),
        ("4539-1488-0343-6467", "card"),
        ("born on 3/23/1940", "birth-date"),
        ("passport number XG9382049", "passport"),
        ("driver's license number is A56319335", "driving-licence"),
        ("from 86.231.85.193", "ip-address/ipv4"),
        (
            "at 4f8a:c99e:dc86:faf9:5988:5f63:375e:8a2a",
            "ip-address/ipv6",
        ),
        ("mac 3c:22:fb:aa:01:9e", "mac-address"),
        ("account number 00123456789", "account"),
        ("12 Baker Street, London", "address"),
        ("My name is Anna Berger.", "name"),
        ("anna [at] rhyta [dot] com", "email/spelled"),
    ] {
        let found = kinds(scanner, text);
        assert!(found.contains(&want.to_owned()), "{text}: {found:?}");
    }
}

#[test]
fn what_hides() {
    let scanner = &SCANNER;
    for (text, want) in [
        ("４５３９ １４８８ ０３４３ ６４６７", "card"),
        ("4539\u{200B}1488\u{200D}0343\u{FEFF}6467", "card"),
        ("4539 1488\n0343 6467", "card"),
        ("4 5 3 9 1 4 8 8 0 3 4 3 6 4 6 7", "card"),
        ("٤٥٣٩ ١٤٨٨ ٠٣٤٣ ٦٤٦٧", "card"),
        ("anna%40rhyta.com", "email"),
        ("anna&#64;rhyta.com", "email"),
        ("\\u0061nna\\u0040rhyta.com", "email"),
        ("YW5uYUByaHl0YS5jb20gaXMgbWU=", "email"),
        ("see notes/YW5uYUByaHl0YS5jb20gaXMgbWU=", "email"),
        (
            "VGhlIGFkZHJlc3Mgb2YgdGhlIHBlcnNvbiB3aG8gYXNrZWQgZm9yIGl0IGlzOiBhbm5hLmJlcmdl\r\nckByaHl0YS5jb20sIHNvIHdyaXRlIHRvIGl0IHNvb24u",
            "email",
        ),
        ("\\u{61}nna\\u{40}rhyta.com", "email"),
        ("\\U00000061nna@rhyta.com", "email"),
        ("4539\u{0E38}1488\u{093C}0343\u{1DC0}6467", "card"),
        ("4539\u{2800}1488\u{2800}0343\u{2800}6467", "card"),
        ("4\u{FE0F}\u{20E3}539148803436467", "card"),
        ("4111 1111 1111 1111", "card"),
        ("pay with 4111111111111111 then", "card"),
        ("раssword: Tr0ub4dor&3", "password"),
        ("GB69 PMNJ 1891\n3943 4307 45", "iban"),
        ("project  FALCON", "term/projects"),
        ("PROJECT\nFalcon", "term/projects"),
        ("ÜBERFLIEGER!", "term/projects"),
        ("u\u{308}berflieger", "term/projects"),
    ] {
        let found = kinds(scanner, text);
        assert!(found.contains(&want.to_owned()), "{text}: {found:?}");
    }
    assert_eq!(kinds(scanner, "project falconry"), Vec::<String>::new());
}

#[test]
fn what_is_nobodys() {
    let scanner = &SCANNER;
    for text in [
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "version 10.0.19045.3693 build 2024",
        "It costs $1,234.56 or 1234567 in all.",
        "pi is 3.14159265358979 and e is 2.718281828459045",
        "for i in 0..1000000 { sum += i * 31415; }",
        "127.0.0.1:8080 and 0.0.0.0 and ::1",
        "timestamp 1700000000, pid 123456",
        "550e8400-e29b-41d4-a716-446655440000",
        "ISBN 978-3-16-148410-0",
        "use std::collections::HashMap;",
        "10:20:30 2024",
        "a1b2c3d4",
        "In 1995 there were 1200 of them, in 1996 about 1300.",
        "The answer is 42. Call me maybe.",
        "git@github.com:org/repo.git",
        "icon@2x.png",
        "0x7fff5fbff8c0",
    ] {
        let found = kinds(scanner, text);
        let harmless = ["date", "web-address"];
        assert!(
            found.iter().all(|f| harmless.contains(&f.as_str())),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn hostile_texts_end() {
    let scanner = &SCANNER;
    let size = 1 << 16;
    for unit in [
        "a",
        "a@",
        "1",
        "1 ",
        "-----BEGIN PRIVATE KEY-----\n",
        "password=",
        "[",
        "%41",
        "&#65;",
        "\\u0041",
        "::",
        "1.",
        "eyJ",
        "https://a:",
        "e\u{301}",
        "my name is A",
        "GB69",
        "sk-",
        "\u{200B}",
        "1-",
        "key ",
        "AB12",
    ] {
        let text = unit.repeat(size / unit.len());
        let found = scanner.scan(&text, &|| false);
        // With an answer or a refusal; what it costs the fuzzer watches.
        assert!(
            found.is_ok() || matches!(found, Err(ingle_gateway::policy::Unclassified::TooMany(_)))
        );
    }
}
