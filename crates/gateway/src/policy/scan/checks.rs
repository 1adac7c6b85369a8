//! Check digits: what tells a number of its kind from any other number.
//!
//! Digits come as values 0 to 9. Each function says from which rule it is; none of them is right for a
//! number of the wrong length.

/// Sum of digits times weights.
fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    let pairs = digits.iter().zip(weights);
    pairs.fold(0, |sum, (digit, weight)| {
        sum.saturating_add(u32::from(*digit).saturating_mul(*weight))
    })
}

fn at(digits: &[u8], i: usize) -> u32 {
    digits.get(i).map_or(99, |d| u32::from(*d))
}

/// The number that some of the digits are.
pub fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n: u64, digit| {
        n.saturating_mul(10).saturating_add(u64::from(*digit))
    })
}

fn part(digits: &[u8], from: usize, len: usize) -> u64 {
    number(
        digits
            .get(from..from.saturating_add(len))
            .unwrap_or_default(),
    )
}

/// Whether they are all the same: such a number passes many checks and is nobody's.
pub fn all_same(digits: &[u8]) -> bool {
    digits
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a == b))
}

/// Luhn (ISO/IEC 7812-1, annex B).
pub fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| match (i % 2, u32::from(*digit)) {
            (1, d) if d > 4 => d * 2 - 9,
            (1, d) => d * 2,
            (_, d) => d,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// ISO 7064, MOD 11,10.
pub fn mod_11_10(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else {
        return false;
    };
    let product = body.iter().fold(10_u32, |product, digit| {
        let sum = (u32::from(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum } * 2) % 11
    });
    (11 - product) % 10 == u32::from(*check)
}

/// The alphabet of mod 97 (ISO 7064, as IBAN, ISO 13616, has it): letters are 10 to 35.
pub fn mod_97(text: impl Iterator<Item = char>) -> Option<u32> {
    let mut rest = 0_u32;
    for c in text {
        let value = c.to_digit(36)?;
        let shift = if value < 10 { 10 } else { 100 };
        rest = (rest * shift + value) % 97;
    }
    Some(rest)
}

/// Verhoeff's dihedral check (1969).
pub fn verhoeff(digits: &[u8]) -> bool {
    const SHUFFLE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    /// Product in the dihedral group of the pentagon.
    fn times(a: u8, b: u8) -> u8 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b - 5) % 5,
            (false, true) => 5 + (a - 5 + 5 - b) % 5,
            (false, false) => (5 + a - b) % 5,
        }
    }
    let sum = digits.iter().rev().enumerate().fold(0, |sum, (i, digit)| {
        let shuffled = (0..i % 8).fold(*digit, |d, _| {
            SHUFFLE.get(usize::from(d)).copied().unwrap_or(0)
        });
        times(sum, shuffled)
    });
    sum == 0
}

/// A weighted sum that a number divides.
pub fn divides(digits: &[u8], weights: &[u32], by: u32) -> bool {
    weighted(digits, weights).is_multiple_of(by)
}

/// Day and month of a year of two or four digits.
pub fn is_date(year: u64, month: u64, day: u64) -> bool {
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn ymd(digits: &[u8]) -> bool {
    is_date(part(digits, 0, 2), part(digits, 2, 2), part(digits, 4, 2))
}

fn dmy(digits: &[u8]) -> bool {
    is_date(part(digits, 4, 2), part(digits, 2, 2), part(digits, 0, 2))
}

/// US social security number (SSA, since 2011): no area 000, 666 or 9xx, no group 00, no serial 0000.
pub fn us_ssn(d: &[u8]) -> bool {
    let (area, group, serial) = (part(d, 0, 3), part(d, 3, 2), part(d, 5, 4));
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

/// US individual taxpayer number (IRS): 9xx, the group of certain ranges.
pub fn us_itin(d: &[u8]) -> bool {
    let group = part(d, 3, 2);
    at(d, 0) == 9 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// UK NHS number: modulus 11.
pub fn uk_nhs(d: &[u8]) -> bool {
    let rest = weighted(d, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = (11 - rest) % 11;
    check != 10 && check == at(d, 9) && !all_same(d)
}

/// German tax identification number: MOD 11,10; of the first ten digits one stands twice or thrice.
pub fn de_tax(d: &[u8]) -> bool {
    let body = d.get(..10).unwrap_or_default();
    let mut counts = [0_u8; 10];
    for digit in body {
        if let Some(count) = counts.get_mut(usize::from(*digit)) {
            *count += 1;
        }
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    at(d, 0) != 0 && repeated == 1 && counts.iter().all(|c| *c < 4) && mod_11_10(d)
}

/// French social security number (INSEE): sex, year, month, place, order, and a key of mod 97.
pub fn fr_nir(d: &[u8]) -> bool {
    let month = part(d, 3, 2);
    let key = part(d, 13, 2);
    matches!(at(d, 0), 1..=4 | 7 | 8)
        && matches!(month, 1..=12 | 20..=42 | 50..=99)
        && key != 0
        && 97 - part(d, 0, 13) % 97 == key
}

/// Dutch citizen service number: the eleven test.
pub fn nl_bsn(d: &[u8]) -> bool {
    let sum = weighted(d, &[9, 8, 7, 6, 5, 4, 3, 2]);
    !all_same(d) && number(d) > 0 && sum % 11 == at(d, 8) % 11 && at(d, 8) < 10
}

/// Belgian national register number: 97 less the rest of the first nine digits, with a 2 before them for
/// those born from 2000 on.
pub fn be_nn(d: &[u8]) -> bool {
    let body = part(d, 0, 9);
    let key = part(d, 9, 2);
    let (month, day) = (part(d, 2, 2) % 20, part(d, 4, 2));
    let right = |n: u64| 97 - n % 97 == key;
    month <= 12 && day <= 31 && (right(body) || right(body.saturating_add(2_000_000_000)))
}

/// Polish PESEL: a date, the century in its month, and a check digit.
pub fn pl_pesel(d: &[u8]) -> bool {
    let (year, month, day) = (part(d, 0, 2), part(d, 2, 2), part(d, 4, 2));
    is_date(year, month % 20, day) && divides(d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1], 10)
}

/// Swedish personal number: a date (60 more in the day of a coordination number) and Luhn.
pub fn se_pnr(d: &[u8]) -> bool {
    let d = if d.len() == 12 {
        d.get(2..).unwrap_or_default()
    } else {
        d
    };
    let (year, month, day) = (part(d, 0, 2), part(d, 2, 2), part(d, 4, 2));
    (is_date(year, month, day) || is_date(year, month, day.saturating_sub(60))) && luhn(d)
}

/// Norwegian birth number: a date (40 more in the day of a D-number, in the month of others) and two checks.
pub fn no_fnr(d: &[u8]) -> bool {
    let (day, month, year) = (part(d, 0, 2), part(d, 2, 2), part(d, 4, 2));
    let date = is_date(year, month % 40, if day > 40 { day - 40 } else { day });
    date && divides(d, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1], 11)
        && divides(d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1], 11)
}

/// Danish CPR number: a date; the modulus 11 is not kept since 2007, so it is no condition.
pub fn dk_cpr(d: &[u8]) -> bool {
    dmy(d)
}

/// The same with the check that most numbers still pass.
pub fn dk_cpr_strict(d: &[u8]) -> bool {
    dmy(d) && divides(d, &[4, 3, 2, 7, 6, 5, 4, 3, 2, 1], 11)
}

/// Portuguese tax number: modulus 11.
pub fn pt_nif(d: &[u8]) -> bool {
    let rest = weighted(d, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    matches!(at(d, 0), 1..=3 | 5..=9) && check == at(d, 8)
}

fn br_digit(d: &[u8], weights: &[u32]) -> u32 {
    match weighted(d, weights) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    }
}

/// Brazilian CPF: two digits of modulus 11.
pub fn br_cpf(d: &[u8]) -> bool {
    !all_same(d)
        && br_digit(d, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) == at(d, 9)
        && br_digit(d, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == at(d, 10)
}

/// Brazilian CNPJ: two digits of modulus 11.
pub fn br_cnpj(d: &[u8]) -> bool {
    !all_same(d)
        && br_digit(d, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == at(d, 12)
        && br_digit(d, &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == at(d, 13)
}

/// Indian Aadhaar: no 0 or 1 at its beginning, Verhoeff.
pub fn in_aadhaar(d: &[u8]) -> bool {
    at(d, 0) > 1 && !all_same(d) && verhoeff(d)
}

/// Australian tax file number: weights, modulus 11.
pub fn au_tfn(d: &[u8]) -> bool {
    number(d) > 0 && divides(d, &[1, 4, 3, 7, 5, 8, 6, 9, 10], 11)
}

/// Australian Medicare number: 2 to 6 first, a check digit at the ninth place.
pub fn au_medicare(d: &[u8]) -> bool {
    let sum = weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9]);
    (2..=6).contains(&at(d, 0)) && sum % 10 == at(d, 8)
}

/// Australian business number: 1 less in the first digit, weights, modulus 89.
pub fn au_abn(d: &[u8]) -> bool {
    let weights = [10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19];
    at(d, 0) > 0 && weighted(d, &weights).saturating_sub(10).is_multiple_of(89)
}

/// Canadian social insurance number: Luhn, no 0 or 8 first.
pub fn ca_sin(d: &[u8]) -> bool {
    !matches!(at(d, 0), 0 | 8) && luhn(d) && !all_same(d)
}

/// Austrian insurance number: the check digit is the fourth, then a date.
pub fn at_svnr(d: &[u8]) -> bool {
    let sum = weighted(d, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    let date = d.get(4..).unwrap_or_default();
    at(d, 0) > 0 && dmy(date) && sum % 11 == at(d, 3)
}

/// Swiss insurance number: 756, and the check digit of EAN-13.
pub fn ch_ahv(d: &[u8]) -> bool {
    part(d, 0, 3) == 756 && divides(d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1], 10)
}

/// Czech and Slovak birth number: a date (50 more in the month for women), modulus 11.
pub fn cz_rc(d: &[u8]) -> bool {
    let (year, month, day) = (part(d, 0, 2), part(d, 2, 2), part(d, 4, 2));
    let plain = [
        month,
        month.wrapping_sub(20),
        month.wrapping_sub(50),
        month.wrapping_sub(70),
    ];
    // Until 1985 a rest of ten was written as 0.
    let rest = part(d, 0, 9) % 11;
    plain.iter().any(|month| is_date(year, *month, day)) && rest % 10 == u64::from(at(d, 9))
}

/// Greek AMKA: a date and Luhn.
pub fn gr_amka(d: &[u8]) -> bool {
    dmy(d) && luhn(d)
}

/// Romanian CNP: sex and century, a date, modulus 11.
pub fn ro_cnp(d: &[u8]) -> bool {
    let rest = weighted(d, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let date = d.get(1..).unwrap_or_default();
    at(d, 0) > 0 && ymd(date) && if rest == 10 { 1 } else { rest } == at(d, 12)
}

/// Bulgarian EGN: a date (20 or 40 more in the month for other centuries), modulus 11.
pub fn bg_egn(d: &[u8]) -> bool {
    let sum = weighted(d, &[2, 4, 8, 5, 10, 9, 7, 3, 6]);
    is_date(part(d, 0, 2), part(d, 2, 2) % 20, part(d, 4, 2)) && sum % 11 % 10 == at(d, 9)
}

/// Estonian and Lithuanian personal code: century, date, two rounds of modulus 11.
pub fn baltic(d: &[u8]) -> bool {
    let first = weighted(d, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(d, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11;
    let check = if first < 10 { first } else { second % 10 };
    let date = d.get(1..).unwrap_or_default();
    matches!(at(d, 0), 1..=6) && ymd(date) && check == at(d, 10)
}

/// Latvian personal code: a date of birth, or 32 and nothing of it, and modulus 11.
pub fn lv_pk(d: &[u8]) -> bool {
    let check = (1 + weighted(d, &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9])) % 11 % 10;
    let date = is_date(part(d, 4, 2), part(d, 2, 2), part(d, 0, 2));
    check == at(d, 10) && (date || part(d, 0, 2) == 32)
}

/// Turkish identity number: two check digits.
pub fn tr_tckn(d: &[u8]) -> bool {
    let odd: u32 = [0, 2, 4, 6, 8].iter().map(|i| at(d, *i)).sum();
    let even: u32 = [1, 3, 5, 7].iter().map(|i| at(d, *i)).sum();
    let tenth = (odd * 7 + 100 - even) % 10;
    let all: u32 = (0..10).map(|i| at(d, i)).sum();
    at(d, 0) > 0 && tenth == at(d, 9) && all % 10 == at(d, 10)
}

/// South African identity number: a date, citizenship 0 to 2, Luhn.
pub fn za_id(d: &[u8]) -> bool {
    ymd(d) && at(d, 10) < 3 && luhn(d)
}

/// The same as given out since October 2020, which is random behind the date and the century.
pub fn kr_rrn_new(d: &[u8]) -> bool {
    ymd(d) && matches!(at(d, 6), 1..=8)
}

/// South Korean resident number: a date, the century, modulus 11.
pub fn kr_rrn(d: &[u8]) -> bool {
    let rest = weighted(d, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11;
    ymd(d) && matches!(at(d, 6), 0..=9) && (11 - rest) % 10 == at(d, 12)
}

/// Japanese individual number: modulus 11.
pub fn jp_number(d: &[u8]) -> bool {
    let rest = weighted(d, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    !all_same(d) && check == at(d, 11)
}

/// Argentine CUIT and CUIL: modulus 11.
pub fn ar_cuit(d: &[u8]) -> bool {
    let rest = weighted(d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    matches!(part(d, 0, 2), 20 | 23 | 24 | 27 | 30 | 33 | 34) && (11 - rest) % 11 == at(d, 10)
}

/// Malaysian identity card: a date and a place of birth.
pub fn my_nric(d: &[u8]) -> bool {
    ymd(d) && matches!(part(d, 6, 2), 1..=16 | 21..=59 | 82)
}

/// Thai identity number: modulus 11.
pub fn th_id(d: &[u8]) -> bool {
    let sum = weighted(d, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    at(d, 0) > 0 && (11 - sum % 11) % 10 == at(d, 12)
}

/// Russian SNILS: two digits of modulus 101.
pub fn ru_snils(d: &[u8]) -> bool {
    let sum = weighted(d, &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101;
    u64::from(if sum == 100 { 0 } else { sum }) == part(d, 9, 2) && part(d, 0, 9) > 1_001_998
}

/// Russian tax number of a person: two digits of modulus 11.
pub fn ru_inn(d: &[u8]) -> bool {
    let one = weighted(d, &[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) % 11 % 10;
    let two = weighted(d, &[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) % 11 % 10;
    number(d) > 0 && one == at(d, 10) && two == at(d, 11)
}

/// Israeli identity number: Luhn.
pub fn il_id(d: &[u8]) -> bool {
    luhn(d) && number(d) > 0
}

/// Croatian OIB: MOD 11,10.
pub fn hr_oib(d: &[u8]) -> bool {
    mod_11_10(d) && !all_same(d)
}

/// Hungarian insurance number (TAJ): weights 3 and 7.
pub fn hu_taj(d: &[u8]) -> bool {
    weighted(d, &[3, 7, 3, 7, 3, 7, 3, 7]) % 10 == at(d, 8) && number(d) > 0
}

/// New Zealand tax number: modulus 11, a second round where the first says 10.
pub fn nz_ird(d: &[u8]) -> bool {
    let mut whole = vec![0; 9_usize.saturating_sub(d.len())];
    whole.extend_from_slice(d);
    let check = |weights: &[u32]| (11 - weighted(&whole, weights) % 11) % 11;
    let first = check(&[3, 2, 7, 6, 5, 4, 3, 2]);
    let check = if first == 10 {
        check(&[7, 4, 3, 2, 5, 2, 7, 6])
    } else {
        first
    };
    number(d) > 9_999_999 && check == at(&whole, 8)
}

/// Chinese resident identity: MOD 11-2 with X for ten, and a date. Takes the text.
pub fn cn_id(text: &str) -> bool {
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let digits: Vec<u8> = digits_of(text);
    let body = digits.get(..17).unwrap_or_default();
    let check = "10X98765432"
        .chars()
        .nth((weighted(body, &weights) % 11) as usize);
    let last = text.chars().last().map(|c| c.to_ascii_uppercase());
    let (year, month, day) = (part(body, 6, 4), part(body, 10, 2), part(body, 12, 2));
    (1850..2100).contains(&year) && is_date(year, month, day) && check == last
}

/// The digits in a text.
pub fn digits_of(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter(u8::is_ascii_digit);
    digits.map(|b| b.saturating_sub(b'0')).collect()
}

/// The letter of Spanish identity cards: 23 of them.
pub fn es_letter(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let lead = match text.chars().next() {
        Some('Y') => 1,
        Some('Z') => 2,
        _ => 0,
    };
    let digits = digits_of(&text);
    let n = lead * 10_u64.pow(u32::try_from(digits.len()).unwrap_or(0).min(9)) + number(&digits);
    let want = "TRWAGMYFPDXBNJZSQVHLCKE".chars().nth((n % 23) as usize);
    text.chars().last() == want && number(&digits) > 0
}

/// The last letter of an Italian codice fiscale (decree of 23 December 1976).
pub fn it_cf(text: &str) -> bool {
    /// Values at odd places, of 0 to 9 and of A to Z alike in their first ten.
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let text = text.to_ascii_uppercase();
    let value = |c: char| c.to_digit(36).map(|v| if v < 10 { v } else { v - 10 });
    let mut sum = 0;
    for (i, c) in text.chars().take(15).enumerate() {
        let Some(value) = value(c) else { return false };
        sum += match i % 2 {
            0 => ODD.get(value as usize).copied().unwrap_or(0),
            _ => value,
        };
    }
    let check = char::from_u32(u32::from('A') + sum % 26);
    text.len() == 16 && text.chars().last() == check
}

/// The last character of a Finnish identity code: mod 31.
pub fn fi_hetu(text: &str) -> bool {
    let body = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let digits = digits_of(body);
    let check = "0123456789ABCDEFHJKLMNPRSTUVWXY";
    let want = check.chars().nth((number(&digits) % 31) as usize);
    digits.len() == 9 && dmy(&digits) && text.chars().last() == want
}

/// The check letter of Irish PPS numbers: mod 23, a second letter counts nine times.
pub fn ie_pps(text: &str) -> bool {
    let digits = digits_of(text);
    let mut letters = text.chars().filter(char::is_ascii_alphabetic);
    let (first, second) = (letters.next(), letters.next());
    let extra = match second {
        None | Some('W') => 0,
        Some(c) => c.to_digit(36).map_or(0, |v| v.saturating_sub(9)) * 9,
    };
    let sum = weighted(&digits, &[8, 7, 6, 5, 4, 3, 2]) + extra;
    first == "WABCDEFGHIJKLMNOPQRSTUV".chars().nth((sum % 23) as usize)
}

/// The check letter of Singapore's identity cards.
pub fn sg_nric(text: &str) -> bool {
    let digits = digits_of(text);
    let sum = weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters) = match text.chars().next() {
        Some('S') => (0, "JZIHGFEDCBA"),
        Some('T') => (4, "JZIHGFEDCBA"),
        Some('F') => (0, "XWUTRQPNMLK"),
        Some('G') => (4, "XWUTRQPNMLK"),
        Some('M') => (3, "XWUTRQPNJLK"),
        _ => return false,
    };
    let i = (sum + offset) % 11;
    text.chars().last() == letters.chars().nth(i as usize)
}

/// The check digit of Taiwan's identity cards.
pub fn tw_id(text: &str) -> bool {
    let place = "ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let Some(first) = text.chars().next().and_then(|c| place.find(c)) else {
        return false;
    };
    let first = first as u32 + 10;
    let digits = digits_of(text);
    let sum = first / 10 + first % 10 * 9 + weighted(&digits, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    sum.is_multiple_of(10)
}

/// The check digit of Chilean RUT numbers: modulus 11 with K for ten.
pub fn cl_rut(text: &str) -> bool {
    let body = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let digits = digits_of(body);
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([2_u32, 3, 4, 5, 6, 7].into_iter().cycle())
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum();
    let want = match 11 - sum % 11 {
        11 => '0',
        10 => 'K',
        n => char::from_digit(n, 10).unwrap_or('?'),
    };
    text.chars().last().map(|c| c.to_ascii_uppercase()) == Some(want)
}

/// The check digit of Hong Kong's identity cards. Takes letters and digits alone.
pub fn hk_id(text: &str) -> bool {
    let value = |c: char| c.to_digit(36);
    let body: Vec<u32> = text.chars().filter_map(value).collect();
    let mut values = body.clone();
    if values.len() == 8 {
        // A card with one letter has a space before it, which counts 36.
        values.insert(0, 36);
    }
    let weights = [9, 8, 7, 6, 5, 4, 3, 2, 1];
    let sum: u32 = values.iter().zip(weights).map(|(v, w)| v * w).sum();
    values.len() == 9 && sum.is_multiple_of(11)
}

/// The check digit of Mexican CURP codes.
pub fn mx_curp(text: &str) -> bool {
    let alphabet = "0123456789ABCDEFGHIJKLMN@OPQRSTUVWXYZ";
    let mut sum = 0_u32;
    for (i, c) in text.to_ascii_uppercase().chars().take(17).enumerate() {
        let Some(value) = alphabet.find(c) else {
            return false;
        };
        sum = sum.saturating_add((value as u32).saturating_mul(18 - i as u32));
    }
    let check = (10 - sum % 10) % 10;
    text.chars().last().and_then(|c| c.to_digit(10)) == Some(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&[u8]) -> bool;

    #[test]
    fn numbers_that_were_published_as_examples() {
        let cases: &[(&str, Check, &str)] = &[
            ("luhn", luhn, "4111111111111111"),
            ("de", de_tax, "86095742719"),
            ("nhs", uk_nhs, "9434765919"),
            ("nir", fr_nir, "295109912611193"),
            ("bsn", nl_bsn, "111222333"),
            ("be", be_nn, "85073003328"),
            ("pesel", pl_pesel, "44051401359"),
            ("se", se_pnr, "8112189876"),
            ("pt", pt_nif, "123456789"),
            ("cpf", br_cpf, "52998224725"),
            ("cnpj", br_cnpj, "11222333000181"),
            ("aadhaar", verhoeff, "2363"),
            ("tfn", au_tfn, "123456782"),
            ("abn", au_abn, "51824753556"),
            ("medicare", au_medicare, "2123456701"),
            ("sin", ca_sin, "130692544"),
            ("at", at_svnr, "1237010180"),
            ("ch", ch_ahv, "7569217076985"),
            ("cz", cz_rc, "7103192745"),
            ("ro", ro_cnp, "1630615123457"),
            ("ee", baltic, "37605030299"),
            ("tr", tr_tckn, "10000000146"),
            ("za", za_id, "8001015009087"),
            ("ar", ar_cuit, "20055361682"),
            ("snils", ru_snils, "11223344595"),
            ("inn", ru_inn, "500100732259"),
            ("oib", hr_oib, "69435151530"),
            ("il", il_id, "123456782"),
            ("ird", nz_ird, "49091850"),
            ("egn", bg_egn, "7523169263"),
        ];
        for (name, check, text) in cases {
            let digits = digits_of(text);
            assert!(check(&digits), "{name} {text}");
            // Another last digit is another number.
            let mut wrong = digits.clone();
            if let Some(last) = wrong.last_mut() {
                *last = (*last + 1) % 10;
            }
            if *name != "medicare" {
                assert!(!check(&wrong), "{name} {text} changed");
            }
        }
    }

    #[test]
    fn texts_that_were_published_as_examples() {
        type Text = fn(&str) -> bool;
        let cases: &[(&str, Text, &str)] = &[
            ("dni", es_letter, "12345678Z"),
            ("nie", es_letter, "X1234567L"),
            ("cf", it_cf, "RSSMRA85T10A562S"),
            ("hetu", fi_hetu, "131052-308T"),
            ("pps", ie_pps, "1234567T"),
            ("cn", cn_id, "11010519491231002X"),
            ("sg", sg_nric, "S1234567D"),
            ("tw", tw_id, "A123456789"),
            ("cl", cl_rut, "12345678-5"),
            ("hk", hk_id, "A1234563"),
            ("curp", mx_curp, "BOXW310820HNERXN09"),
        ];
        for (name, check, text) in cases {
            assert!(check(text), "{name} {text}");
        }
    }

    #[test]
    fn iban() {
        let iban = "GB82WEST12345698765432";
        let moved = iban.chars().skip(4).chain(iban.chars().take(4));
        assert_eq!(mod_97(moved), Some(1));
    }
}
