#!/usr/bin/env python3
"""Sentences with numbers of people from many countries, and with numbers that are nobody's: people.tsv.

    pip install faker==40.54.0
    crates/gateway/tests/goldens/make_people.py > crates/gateway/tests/goldens/people.tsv

A line: the kind, the country, and a sentence in which the value stands between «». Lines of the kind `none` have
nothing that is to be found. The values are Faker's, of each country's own form, or made here; nobody has them but by chance.
"""
import random
import string
import sys

from faker import Faker

random.seed(20261122)
Faker.seed(20261122)

# Country: the language of its sentences, and Faker's name of it.
LOCALES = {
    "US": ("en", "en_US"), "GB": ("en", "en_GB"), "CA": ("en", "en_CA"), "AU": ("en", "en_AU"), "IE": ("en", "en_IE"),
    "NZ": ("en", "en_NZ"), "IN": ("en", "en_IN"), "DE": ("de", "de_DE"), "AT": ("de", "de_AT"), "CH": ("de", "de_CH"), "FR": ("fr", "fr_FR"),
    "IT": ("it", "it_IT"), "ES": ("es", "es_ES"), "MX": ("es", "es_MX"), "CO": ("es", "es_CO"), "AR": ("es", "es_AR"), "CL": ("es", "es_CL"),
    "PT": ("pt", "pt_PT"), "BR": ("pt", "pt_BR"), "NL": ("nl", "nl_NL"), "BE": ("nl", "nl_BE"), "SE": ("sv", "sv_SE"), "NO": ("no", "no_NO"),
    "DK": ("da", "da_DK"), "FI": ("fi", "fi_FI"), "PL": ("pl", "pl_PL"), "CZ": ("cs", "cs_CZ"), "SK": ("cs", "sk_SK"), "HU": ("hu", "hu_HU"),
    "RO": ("ro", "ro_RO"), "BG": ("en", "bg_BG"), "GR": ("en", "el_GR"), "TR": ("tr", "tr_TR"), "RU": ("en", "ru_RU"), "UA": ("en", "uk_UA"),
    "HR": ("hr", "hr_HR"), "EE": ("en", "et_EE"), "LT": ("en", "lt_LT"), "LV": ("en", "lv_LV"), "IL": ("en", "he_IL"), "CN": ("zh", "zh_CN"),
    "JP": ("ja", "ja_JP"), "KR": ("en", "ko_KR"), "TH": ("en", "th_TH"), "ID": ("en", "id_ID"), "TW": ("zh", "zh_TW"),
}

PHONE = {
    "en": ["Call me at {} after six.", "Tel: {}", "My mobile number is {}, text me.", "Phone {} or write.", "You can reach Anna on {}."],
    "de": ["Ruf mich unter {} an.", "Tel.: {}", "Meine Handynummer ist {}.", "Telefon {} (ab 18 Uhr)", "Sie erreichen uns unter der Nummer {}."],
    "fr": ["Appelez-moi au {}.", "Tél. : {}", "Mon numéro de téléphone est le {}.", "Portable : {}", "Vous pouvez me joindre au {}."],
    "it": ["Chiamami al {}.", "Tel. {}", "Il mio numero di telefono è {}.", "Cellulare: {}", "Mi trovi al numero {}."],
    "es": ["Llámame al {}.", "Tel.: {}", "Mi número de teléfono es {}.", "Móvil: {}", "Teléfono {} o por correo."],
    "pt": ["Liga-me para o {}.", "Tel.: {}", "O meu número de telefone é {}.", "Celular: {}", "Telefone {} ou e-mail."],
    "nl": ["Bel me op {}.", "Tel.: {}", "Mijn telefoonnummer is {}.", "Mobiel: {}", "U kunt mij bereiken op {}."],
    "sv": ["Ring mig på {}.", "Tel: {}", "Mitt telefonnummer är {}.", "Mobil: {}", "Du når mig på {}."],
    "no": ["Ring meg på {}.", "Tlf: {}", "Mitt telefonnummer er {}.", "Mobil: {}", "Du når meg på {}."],
    "da": ["Ring til mig på {}.", "Tlf.: {}", "Mit telefonnummer er {}.", "Mobil: {}", "Du kan få fat i mig på {}."],
    "fi": ["Soita minulle numeroon {}.", "Puh. {}", "Puhelinnumeroni on {}.", "Matkapuhelin: {}", "Puhelin {} iltaisin."],
    "pl": ["Zadzwoń do mnie pod numer {}.", "Tel. {}", "Mój numer telefonu to {}.", "Komórka: {}", "Telefon {} po szóstej."],
    "cs": ["Zavolejte mi na {}.", "Tel.: {}", "Moje telefonní číslo je {}.", "Mobil: {}", "Telefon {} po šesté."],
    "hu": ["Hívj fel a {} számon.", "Tel.: {}", "A telefonszámom {}.", "Mobil: {}", "Telefon: {} este."],
    "ro": ["Sună-mă la {}.", "Tel.: {}", "Numărul meu de telefon este {}.", "Mobil: {}", "Telefon {} seara."],
    "tr": ["Beni {} numarasından arayın.", "Tel: {}", "Telefon numaram {}.", "Cep: {}", "Telefon {} akşam."],
    "hr": ["Nazovi me na {}.", "Tel.: {}", "Moj broj telefona je {}.", "Mobitel: {}", "Telefon {} navečer."],
    "zh": ["请拨打 {} 联系我。", "电话：{}", "我的手机号码是 {}。", "手机：{}", "联系电话 {} 。"],
    "ja": ["{} までお電話ください。", "電話：{}", "私の電話番号は {} です。", "携帯：{}", "TEL {} まで。"],
}
# The word for the number of a person, and Faker's method. Those that Faker does not make by the rules are not here.
IDS = {
    "US": ["SSN", "social security number"], "CA": ["SIN", "social insurance number"], "FR": ["numéro de sécurité sociale", "NIR"],
    "DE": None, "CH": ["AHV-Nummer", "numéro AVS"], "IT": ["codice fiscale", "CF"], "BR": ["CPF"], "NL": ["BSN", "burgerservicenummer"],
    "BE": ["rijksregisternummer", "numéro national"], "SE": ["personnummer"], "NO": ["fødselsnummer"], "FI": ["henkilötunnus", "HETU"],
    "PL": ["PESEL"], "RO": ["CNP"], "HR": ["OIB"], "EE": ["isikukood"], "CN": ["身份证号", "ID card number"], "KR": ["resident registration number", "주민등록번호"],
    "TW": ["身分證字號", "ID number"], "TR": ["TC kimlik no"], "IL": ["teudat zehut", "ID number"], "AT": ["Sozialversicherungsnummer", "SVNr"],
    "GR": ["AMKA"], "LV": ["personas kods"], "TH": ["Thai ID"], "BG": None, "HU": None, "ES": ["DNI", "NIE"],
}
EMAILS = [
    "{a}.{b}@{d}", "{a}+{t}@{d}", "{a}_{b}{n}@{d}", "{A}.{B}@{D}", "{a}-{b}@mail.{d}", "{a}{n}@{d}", "{a}.{b}+{t}.{n}@{d}", "o'{b}@{d}",
    "{a}@xn--mnchen-3ya.example", "{a}.müller@{d}", "josé.{b}@{d}", "{a}@bücher.example", "{a}@sub.dept.{d}", "{n}@qq.com", "{a}%{b}@{d}", "{a} (at) {d}", "{a} [at] gmail [dot] com",
    "иван@почта.рф", "用户@例子.公司", "{a}@{d}.museum",
]
CARRIERS = ["Write to {} please.", "E-mail: {}", "My address is {}, not the old one.", "<{}>", "cc {}; bcc nobody", "mailto:{}?subject=x"]


def out(kind, country, sentence, value=None):
    sentence = sentence.replace("\t", " ")
    print(f"{kind}\t{country}\t{sentence if value is None else sentence.replace('{}', f'«{value}»')}")


def phones():
    for country, (language, locale) in LOCALES.items():
        fake = Faker(locale)
        carriers = PHONE[language]
        for i in range(10):
            value = fake.phone_number()
            if sum(c.isdigit() for c in value) < 7:
                continue
            out("phone", country, carriers[i % len(carriers)], value)


def ids():
    for country, words in IDS.items():
        if not words:
            continue
        fake = Faker(LOCALES[country][1])
        for i in range(6):
            if country == "ES":
                number = random.randrange(10_000_000, 99_999_999)
                value = f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"
                word = "DNI"
                if i % 2:
                    first = random.choice("XYZ")
                    number = random.randrange(1_000_000, 9_999_999)
                    value = f"{first}{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(str('XYZ'.index(first)) + str(number)) % 23]}"
                    word = "NIE"
            else:
                value, word = fake.ssn(), words[i % len(words)]
            sentence = ["{w}: {}", "My {w} is {}.", "{w} {}", "The {w} of my mother is {}, I think.", "{w} = {}", "({w} {})"][i]
            out("national-id", country, sentence.replace("{w}", word), value)


def ibans():
    for country in ["DE", "GB", "FR", "IT", "ES", "NL", "BE", "AT", "CH", "PL", "PT", "IE", "NO", "DK", "FI", "GR", "CZ", "HU", "RO", "HR", "BG", "EE", "TR", "SE"]:
        locale = {"SE": "de_DE"}.get(country, LOCALES[country][1])
        value = Faker(locale).iban()
        if country == "SE":
            bban = "".join(random.choices(string.digits, k=20))
            value = f"SE{98 - int(bban + '281400') % 97:02}{bban}"
        if not value.startswith(country) or (98 - int("".join(str(int(c, 36)) for c in value[4:] + value[:2] + "00")) % 97) != int(value[2:4]):
            continue
        groups = " ".join(value[i:i + 4] for i in range(0, len(value), 4))
        dashes = groups.replace(" ", "-")
        for i, shown in enumerate([value, groups, groups.lower(), value.lower(), dashes, groups.replace(" ", "\u00a0")]):
            sentence = ["Please pay to {} by Friday.", "IBAN: {}", "my iban is {} thanks", "iban={}", "Account {} (BIC follows)", "Konto {}."][i]
            out("iban", country, sentence, shown)


def luhn(body):
    total = sum(int(c) if i % 2 else sum(divmod(2 * int(c), 10)) for i, c in enumerate(reversed(body)))
    return body + str(-total % 10)


def cards():
    for name, head, length in [("visa", "4", 16), ("mastercard", "51", 16), ("mastercard2", "2221", 16), ("amex", "34", 15), ("amex2", "37", 15),
                               ("discover", "6011", 16), ("diners", "36", 14), ("jcb", "3528", 16), ("unionpay", "62", 16), ("maestro", "6759", 16)]:
        for i in range(6):
            body = head + "".join(random.choices(string.digits, k=length - len(head) - 1))
            value = luhn(body)
            cuts = {14: [4, 6, 4], 15: [4, 6, 5], 16: [4, 4, 4, 4]}[length]
            parts, at = [], 0
            for cut in cuts:
                parts.append(value[at:at + cut])
                at += cut
            shown = [value, " ".join(parts), "-".join(parts), ".".join(parts), " - ".join(parts), "\u00a0".join(parts)][i]
            sentence = ["Card number {} please.", "Charge it to {}, exp 08/29.", "cc: {}", "My {n} is {}.", "Karte {} cvv 123", "It was paid with {} last week."][i]
            out("card", name, sentence.replace("{n}", name.rstrip("2")), shown)


def emails():
    fake = Faker("en_US")
    for i in range(120):
        a, b = fake.first_name().lower(), fake.last_name().lower()
        d = random.choice(["gmail.com", "acme-corp.co.uk", "web.de", "firma.io", "uni-bern.ch", "orange.fr", "company.travel"])
        value = EMAILS[i % len(EMAILS)].format(a=a, b=b, A=a.title(), B=b.title(), D=d.title(), d=d, t=random.choice(["news", "shop", "tag1"]), n=random.randrange(1, 999999))
        carrier = CARRIERS[(i // len(EMAILS)) % len(CARRIERS)]
        if "(at)" in value or "[at]" in value:
            carrier = "Write to {} please."
        out("email", "-", carrier, value)


def addresses():
    fake = Faker()
    for i in range(30):
        out("ip-address", "v4", ["Blocked {} today.", "from {}:443", "ssh root@{}", "client={}", "[{}] failed"][i % 5], fake.ipv4_public())
        out("ip-address", "v6", ["Blocked {} today.", "from [{}]:443", "host {}", "client={}", "{} failed"][i % 5], fake.ipv6())


def nothing():
    digits = lambda n: "".join(random.choices(string.digits, k=n))
    fake = Faker()
    def bad_iban(country, n):
        bban = digits(n)
        check = 98 - int(bban + "".join(str(int(c, 36)) for c in country) + "00") % 97
        return f"{country}{(check + 7) % 90 + 2:02}{bban}"
    def bad_card():
        value = luhn("4" + digits(14))
        return value[:-1] + str((int(value[-1]) + 3) % 10)
    makers = [
        ("order", lambda: f"Order #{digits(10)} was shipped on {fake.date()}."),
        ("invoice", lambda: f"Invoice {random.randrange(2015, 2027)}-{digits(6)} over {random.randrange(10, 9000)}.{digits(2)} EUR is due."),
        ("tracking", lambda: f"Tracking 1Z{digits(3)}AA{digits(10)} says delivered."),
        ("isbn", lambda: f"ISBN 978-{digits(1)}-{digits(2)}-{digits(6)}-{digits(1)}, second edition."),
        ("doi", lambda: f"See doi:10.{digits(4)}/s{digits(5)}-{digits(3)}-{digits(5)}-{digits(1)} for more."),
        ("time", lambda: f"At {fake.iso8601()} the job took {digits(5)} ms."),
        ("unix", lambda: f"created_at: 1{digits(9)}, updated_at: 1{digits(12)}"),
        ("size", lambda: f"It wrote {digits(9)} bytes in {digits(7)} files."),
        ("version", lambda: f"Upgrade from v{digits(1)}.{digits(2)}.{digits(1)} to {digits(1)}.{digits(1)}.{digits(4)} first."),
        ("coordinates", lambda: f"It lies at {random.uniform(-90, 90):.6f}, {random.uniform(-180, 180):.6f}."),
        ("hash", lambda: f"commit {fake.sha1()} broke it"),
        ("uuid", lambda: f"request_id={fake.uuid4()}"),
        ("sum", lambda: f"The total is {random.randrange(1, 999)},{digits(3)},{digits(3)} people, {random.randrange(1, 99)}.{digits(2)}% more."),
        ("iban with a wrong check", lambda: f"The sample {bad_iban('DE', 18)} has a wrong check."),
        ("card with a wrong check", lambda: f"The code {bad_card()} is not valid."),
        ("range", lambda: f"pages {random.randrange(10, 99)}-{random.randrange(100, 999)}, years {random.randrange(1900, 1960)}-{random.randrange(1961, 2020)}"),
        ("code", lambda: f"x[{digits(2)}] = 0x{fake.sha1()[:8]}; // {digits(3)} of {digits(4)}"),
        ("part", lambda: f"Part no. {random.choice('ABX')}{digits(3)}-{digits(4)}-{digits(2)} fits model {digits(4)}."),
        ("score", lambda: f"They won {random.randrange(0, 9)}:{random.randrange(0, 9)}, {digits(5)} came; Elo {digits(4)} to {digits(4)}."),
        ("handle", lambda: f"@{fake.user_name()} pushed to {fake.user_name()}/{fake.word()}@{random.randrange(1, 9)}.{random.randrange(0, 9)}.{random.randrange(0, 9)}"),
        ("decorator", lambda: f"@property def {fake.word()}(self): return self.{fake.word()}@{fake.word()}"),
        ("number of things", lambda: f"We sold {digits(6)} tickets and {digits(7)} badges at {random.randrange(2, 80)} each."),
        ("phone price", lambda: f"The phone costs {random.randrange(300, 1900)} euro and has {digits(3)} GB; model SM-{digits(4)}."),
        ("mathematics", lambda: f"{digits(5)} * {digits(4)} = {digits(9)}"),
        ("log", lambda: f"[{digits(5)}.{digits(6)}] usb 1-{digits(1)}: new device {digits(3)}"),
        ("article", lambda: f"EAN {luhn('40' + digits(10))} is out of stock"),
        ("flight", lambda: f"Flight LH{digits(4)}, booking {''.join(random.choices(string.ascii_uppercase, k=6))}, seat {random.randrange(1, 40)}A, gate {random.randrange(1, 60)}."),
        ("ticket", lambda: f"Ticket INC{digits(7)} (was JIRA-{digits(4)}) is closed."),
    ]
    for name, make in makers:
        for _ in range(14):
            out("none", name, make())


print("# Made by make_people.py.", file=sys.stdout)
phones()
ids()
ibans()
cards()
emails()
addresses()
nothing()
