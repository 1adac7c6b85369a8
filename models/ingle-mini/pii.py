"""Personal data in a text: labelled sentences, the same with other values, and sentences made from templates."""
import json, os, re, zlib
from labels import jsonl

ASK = ["Mark the personal data in this text. Answer with JSON.\n\nText: %s",
       "Find the personal data (names, addresses, numbers) in this text. Answer with a JSON object.\n\n%s",
       """List all personal data as JSON: {"pii": [{"type": "...", "text": "..."}]}.\n\nText: %s""",
       "Which parts of the text are personal data? JSON only.\n\n%s"]
MULTIDOGO = dict(name="PERSON", ssn="US_SSN", address="ADDRESS", email_address="EMAIL_ADDRESS", phonenumber="PHONE_NUMBER",
                 phone_number="PHONE_NUMBER", card_number="CREDIT_CARD", current_city="LOCATION", departure_city="LOCATION",
                 arrival_city="LOCATION", company_name="ORGANIZATION", account_number="ACCOUNT_NUMBER", password="PASSWORD")
NANO = dict(PERSON="PERSON", EMAIL="EMAIL_ADDRESS", PASSWORD="PASSWORD", SSN="US_SSN", ORGANIZATION="ORGANIZATION", ORG="ORGANIZATION",
            PASSPORT="PASSPORT", PHONE="PHONE_NUMBER", IBAN="IBAN_CODE", CREDIT_CARD="CREDIT_CARD", ACCOUNT="ACCOUNT_NUMBER",
            ACCOUNT_NUMBER="ACCOUNT_NUMBER", BANK_ACCOUNT="ACCOUNT_NUMBER", DRIVER_LICENSE="US_DRIVER_LICENSE",
            DRIVERS_LICENSE="US_DRIVER_LICENSE", DRIVER_LICENSE_NUM="US_DRIVER_LICENSE", TITLE="TITLE")
MADE = """My name is {PERSON}.|I am {PERSON} and I live in {LOCATION}.|Call me at {PHONE_NUMBER}.|Please call {PERSON} on {PHONE_NUMBER}.
Send it to {EMAIL_ADDRESS}, please.|My email is {EMAIL_ADDRESS}|Write to {PERSON} at {EMAIL_ADDRESS} before {DATE_TIME}.
{PERSON} was born on {DATE_TIME} in {LOCATION}.|My card number is {CREDIT_CARD}.|I lost my card {CREDIT_CARD} yesterday
The IBAN is {IBAN_CODE}.|Please transfer 200 euros to {IBAN_CODE}, {PERSON}.|My social security number is {US_SSN}
SSN: {US_SSN}|Ship it to {ADDRESS}.|I moved to {ADDRESS} last month.|{PERSON} lives at {ADDRESS}.|Her address is {ADDRESS}
{PERSON} works for {ORGANIZATION} in {LOCATION}.|I work at {ORGANIZATION}.|{ORGANIZATION} has a new office in {LOCATION}.
The server {IP_ADDRESS} does not answer.|My IP is {IP_ADDRESS}|See {DOMAIN_NAME} for more.|Visit {DOMAIN_NAME} or call {PHONE_NUMBER}
My driver license is {US_DRIVER_LICENSE}.|Name: {PERSON}\nAddress: {ADDRESS}\nPhone: {PHONE_NUMBER}|{PERSON}, {ADDRESS}
Hello, {PERSON} here. My number is {PHONE_NUMBER}.|Dear {PREFIX} {PERSON}, thank you for your letter.|{PREFIX} {PERSON} will see you on {DATE_TIME}.
Yesterday {PERSON} met {PERSON} in {LOCATION}.|{PERSON} and {PERSON} are friends.|Is {PERSON} at home?|We fly from {LOCATION} to {LOCATION}.
{PERSON} told {PERSON} that {PERSON} was late.|The password is {PASSWORD}|Log in as {EMAIL_ADDRESS} with {PASSWORD}.
Account {ACCOUNT_NUMBER} belongs to {PERSON}.|From: {EMAIL_ADDRESS}\nTo: {EMAIL_ADDRESS}\nHi {PERSON}, see you in {LOCATION}.
Passport {PASSPORT}, {PERSON}, {DATE_TIME}.|what is the balance of {ACCOUNT_NUMBER}?|Bill {PERSON} of {ORGANIZATION}, {ADDRESS}.
Please update the billing address of {PERSON} to {ADDRESS}|charge it to {CREDIT_CARD}, exp {DATE_TIME}|i was in {LOCATION} on {DATE_TIME}
Bot: What is your name? User: {PERSON}|A: Where do you live?\nB: {ADDRESS}|{PERSON} is the new head of {ORGANIZATION}
My son {PERSON} goes to school in {LOCATION}.|She is from {LOCATION}.|Have you been to {LOCATION}?|The {ORGANIZATION} team meets {PERSON} on {DATE_TIME}.""".replace("\n", "|").split("|")
# More of the same, in the manner of letters, forms, news, reviews and talk with a bank. NUM, STREET, APT, ZIP are parts
# of an address that stand for themselves; CITY and COUNTRY are locations.
MADE += """{NUM} {STREET}\\n {APT}\\n {CITY}\\n {COUNTRY} {ZIP}|{PERSON}\\n{NUM} {STREET}\\n{APT}\\n{CITY}\\n{COUNTRY} {ZIP}|{STREET}, {CITY}
{ORGANIZATION}\\n{NUM} {STREET}\\n{CITY} {ZIP}|{PREFIX} {PERSON}\\n{NUM} {STREET} {APT}\\n{CITY} {ZIP}\\n{COUNTRY}|{PERSON} moved to {STREET} in {CITY}
{PERSON}, {TITLE}, {ORGANIZATION}|{PERSON}\\n{TITLE}\\n{ORGANIZATION}\\n{PHONE_NUMBER}|{PERSON} is a {TITLE} at {ORGANIZATION}.|We look for a {TITLE} in {CITY}
The {TITLE} of {ORGANIZATION}, {PERSON}, lives in {COUNTRY}.|"No comment", said {PERSON}, {TITLE} of {ORGANIZATION}.|{PERSON} works as {TITLE}
{PREFIX} {PERSON} called again.|Is this {PREFIX} {PERSON}?|Good morning {PREFIX} {PERSON}, this is {PERSON} from {ORGANIZATION}.|{PREFIX} {PERSON} and {PREFIX} {PERSON} came
I was born in {CITY} and grew up in {COUNTRY}.|The best food in {CITY} is at {STREET}.|{COUNTRY} beat {COUNTRY} in the final.|Flights from {CITY} to {COUNTRY} are cheap
How is the weather in {CITY}?|I have never been to {COUNTRY}|a week in {CITY}, a week in {CITY}|The president of {COUNTRY} met {PERSON}.|{CITY}, {COUNTRY}
I am calling from {COUNTRY}. Do you ship there?|the {CITY} office is closed on {DATE_TIME}|Greetings from {CITY}!|People in {COUNTRY} love {PERSON}.
Can you open an account for {PERSON}?|Please remove {PERSON} from my account|I want to send money to {PERSON} in {COUNTRY}|Please pay {PERSON} with {IBAN_CODE}
My IBAN is {IBAN_CODE}, is that enough?|send the refund to {IBAN_CODE}|Beneficiary: {PERSON}\\nIBAN: {IBAN_CODE}|transfer from {IBAN_CODE} to {IBAN_CODE}
Has the payment from {CREDIT_CARD} arrived?|my card is {CREDIT_CARD} and it was stolen in {CITY}|Card: {CREDIT_CARD}\\nName: {PERSON}|{CREDIT_CARD}
I see a charge on {CREDIT_CARD} that I do not know|Why was {CREDIT_CARD} declined?|Can you raise the limit of card {CREDIT_CARD}|Block {CREDIT_CARD} now!
What is the balance of the card ending in 1234?|I forgot my PIN.|How do I close my account?|Do you have an app?|Thanks for your help, you are a good bot.|The weather is fine today.
My SSN, {US_SSN}, was wrong in the letter.|is {US_SSN} your social?|Social security: {US_SSN}|For the form: {PERSON}, {US_SSN}, born {DATE_TIME}
The licence number {US_DRIVER_LICENSE} is not valid|Driver license: {US_DRIVER_LICENSE}\\nState: {CITY}|I renewed my license, it is {US_DRIVER_LICENSE} now
Date of birth: {DATE_TIME}|I was born on {DATE_TIME}|When is the meeting? {DATE_TIME}|See you {DATE_TIME}!|The shop is closed on {DATE_TIME}|Time: {DATE_TIME}\\nPlace: {CITY}
{DATE_TIME}: {PERSON} logged in from {IP_ADDRESS}|{IP_ADDRESS} was blocked|ping {IP_ADDRESS} fails|Your address {IP_ADDRESS} is on our list
My blog is {DOMAIN_NAME}|read this: {DOMAIN_NAME}|I found it on {DOMAIN_NAME}, look|New video at {DOMAIN_NAME}|Is {DOMAIN_NAME} down?|{DOMAIN_NAME} is a good site
You can reach me at {EMAIL_ADDRESS} or {PHONE_NUMBER}|{EMAIL_ADDRESS}|mail to {EMAIL_ADDRESS}|I changed my email to {EMAIL_ADDRESS}|Is {EMAIL_ADDRESS} correct?
Tel: {PHONE_NUMBER}|my new number: {PHONE_NUMBER}|Who called from {PHONE_NUMBER}?|text {PERSON} at {PHONE_NUMBER}|{PHONE_NUMBER} is busy|Fax {PHONE_NUMBER}
Please deliver the parcel to {ADDRESS}.|Deliver to:\\n{ADDRESS}|{PERSON}\\n{ADDRESS}|The party is at {ADDRESS}|Is {ADDRESS} your address?|My office: {ADDRESS}, call {PHONE_NUMBER}
I need a taxi from {ADDRESS} to {ADDRESS}|We moved from {ADDRESS} to {ADDRESS}.|I live in {ADDRESS}|Billing address:\\n{ADDRESS}|The house at {ADDRESS} is for sale
{ORGANIZATION} bought {ORGANIZATION} for two billion.|{ORGANIZATION} hired {PERSON} as {TITLE}.|Shares of {ORGANIZATION} fell|Who owns {ORGANIZATION}?|I left {ORGANIZATION} last year
The {ORGANIZATION} report was good|{ORGANIZATION}, {ORGANIZATION} and {ORGANIZATION} are the largest.|A spokesman of {ORGANIZATION} in {CITY} said nothing.|I studied at {ORGANIZATION}.
The song was written by {PERSON} and sung by {PERSON}.|{PERSON} plays the guitar on this record.|a film by {PERSON} with {PERSON} and {PERSON}|{PERSON} wrote the book in {CITY}.
I love everything by {PERSON}|{PERSON}'s new album is out|This was the first hit of {PERSON}, who left the band later.|The {PERSON} song of the summer|{PERSON} was great in it
It reminds me of {PERSON}.|Like {PERSON} before, {PERSON} was no singer.|Nobody writes like {PERSON} did|The critics liked {PERSON}, the people {PERSON}.|{PERSON}'s house is in {CITY}
{PERSON}, do you know {PERSON}?|"Where is {PERSON}?" asked {PERSON}.|{PERSON} and {PERSON}'s wedding is in {CITY}|I saw {PERSON} with {PERSON}|{PERSON} has a cold.|Tell {PERSON} I said hi
{PERSON}: hello\\n{PERSON}: hi {PERSON}, how are you?|ask {PERSON} or {PERSON}|{PERSON}, {PERSON}, {PERSON} and {PERSON} passed the test.|Thank you, {PERSON}|Regards, {PERSON}
{PERSON} thinks that {PERSON} is right. They often agree.|My boss is {PERSON}|My name is spelled {PERSON}|I talked to {PERSON} about it|{PERSON}?|It was {PERSON}'s idea
Meeting with {PERSON} ({ORGANIZATION}) on {DATE_TIME}|Team: {PERSON}, {PERSON}\\nDate: {DATE_TIME}|{PERSON} from {COUNTRY} won|{PERSON} lives in {CITY}, {COUNTRY}.
Last name: {PERSON}\\nCity: {CITY}|First name {PERSON}, last name {PERSON}|Name {PERSON}\\nPhone {PHONE_NUMBER}\\nEmail {EMAIL_ADDRESS}|Contact: {PERSON}, {ORGANIZATION}, {CITY}""".replace("\n", "|").replace("\\n", "\n").split("|")
PARTS = dict(NUM="ADDRESS", STREET="ADDRESS", APT="ADDRESS", ZIP="ADDRESS", CITY="LOCATION", COUNTRY="LOCATION")
STREETS = "Street St. Road Rd Avenue Ave Lane Drive Way Court Place Boulevard Square Hill".split()
FOREIGN = ["{l}straße {n}", "{l}gasse {n}", "rue {l} {n}", "{n} rue de {l}", "Via {l} {n}", "Calle {l} {n}", "{l} utca {n}.", "ul. {l} {n}",
           "{l}vej {n}", "{l}gatan {n}", "{n} {l} Street", "{l}laan {n}", "Rua {l} {n}", "{l} {n}", "{n} {l} {n2}"]
SYLLABLES = "ka mi lo ra sen tor bel vi an dro gu sta hel min zo per la fri es wa ter no lin bor sch ek ov ari ñe ü ø á ż ić ov ska son".split()


def lists(data):
    def get(name):
        with open(os.path.join(data, "text", "corpora_lists", name + ".json"), encoding="utf-8") as f:
            return json.load(f)
    towns = get("geography_english_towns_cities")
    return dict(first=get("humans_firstNames")["firstNames"], last=get("humans_lastNames")["lastNames"],
                city=[c["city"] for c in get("geography_us_cities")["cities"]] + towns["towns"] + towns["cities"],
                country=[c["name"] for c in get("geography_countries_with_capitals")["countries"]],
                capital=[c["capital"] for c in get("geography_countries_with_capitals")["countries"]],
                job=get("humans_occupations")["occupations"],
                word=[w for w in get("words_nouns")["nouns"] if w.isalpha()])


def rows(data):
    """[(text, [(type, start, end)])] to train on, and to test on.

    No template of `pii.json` is on both sides, and none to test on shares a run of 5 words with one to train on.
    """
    with open(os.path.join(data, "evals", "pii.json"), encoding="utf-8") as f:
        all_rows = json.load(f)
    runs, known = {}, set()
    for r in all_rows:
        w = re.sub(r"\{+\w+\}+", "V", r["masked"]).lower().split()
        runs[r["template_id"]] = {tuple(w[i:i + 5]) for i in range(len(w) - 4)}
    held = {t for t in runs if zlib.crc32(f"e {t}".encode()) % 6 == 0}
    for t in runs.keys() - held:
        known |= runs[t]
    train, test, seen = [], [], set()
    for r in all_rows:
        spans = sorted((s["entity_type"], s["start_position"], s["end_position"]) for s in r["spans"])
        spans = sorted(spans, key=lambda s: s[1])
        text = r["full_text"]
        if text in seen or len(text) > 500:
            continue
        seen.add(text)
        if r["template_id"] not in held:
            train.append((text, spans))
        elif not runs[r["template_id"]] & known:
            test.append((text, spans))
    return train, test


def find(text, pairs):
    """Spans of (type, value) pairs in order, or None where one is not found."""
    out, at = [], 0
    for kind, v in pairs:
        i = text.find(v, at)
        if i < 0:
            return None
        out.append((kind, i, i + len(v)))
        at = i + len(v)
    return out


def others(data):
    """Labelled sentences of other sets, with their types under the names of `pii.json`."""
    out = []
    with open(os.path.join(data, "text", "pii_synthetic_nano", "pii_syn_nano_en.json"), encoding="utf-8") as f:
        for r in json.load(f):
            pairs = sorted(((NANO.get(e.get("label"), "ID_NUMBER"), e["entity"]) for e in r["NER"] if "entity" in e), key=lambda p: r["text"].find(p[1]))
            if (s := find(r["text"], pairs)) is not None and not any(e.get("label") in (None, "SYSTEM", "MISC", "EVENT") for e in r["NER"]):
                out.append((r["text"], s))
    dogo = []
    for r in jsonl(data, "text", "multidogo", "customer_train.jsonl"):
        if r["entities"] and len(r["text"]) > 25 and all(e["label"] in MULTIDOGO for e in r["entities"]):
            pairs = sorted(((MULTIDOGO[e["label"]], e["text"]) for e in r["entities"]), key=lambda p: r["text"].find(p[1]))
            if (s := find(r["text"], pairs)) is not None:
                dogo.append((r["text"], s))
    return out, dogo


TATOEBA = dict(PERSON="Tom Mary John Jack Jane Bill Bob Ken Kate Mike Jim Nancy Susan Betty Tom's Mary's Kumi Lucy Meg Emily Alice".split(),
               LOCATION="Boston Japan Tokyo Australia London Paris France America Germany Italy China Kyoto Osaka Canada Chicago India Spain Russia".split())


def said(data):
    """Everyday sentences (tatoeba) with somebody's name or a place in them, marked: many kinds of places for a name."""
    folder, out, seen = os.path.join(data, "text", "tatoeba_en"), [], set()
    known = {w: k for k, ws in TATOEBA.items() for w in ws}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            for text in (line.rstrip("\n").split("\t")[-1].strip() for line in f):
                found = [(known[m[1]], m.start(), m.start() + len(m[1].removesuffix("'s")))
                         for m in re.finditer(r"\b([A-Z][a-z]+(?:'s)?)\b", text) if m[1] in known]
                if not found or not 12 < len(text) < 110 or text in seen:
                    continue
                rest = text
                for _, a, b in found:
                    rest = rest[:a] + "x" * (b - a) + rest[b:]
                if re.search(r"(?<=[a-z,;] )(?!I\b|French|English|Japanese|German|Chinese|Spanish|American)[A-Z]|day\b|\d", rest):
                    continue
                seen.add(text)
                out.append((text, found))
    return out


def street(v):
    """Whether this address is a street, with or without a number, and no more."""
    return len(v) < 32 and re.search(r"[^\W\d]{3}", v) and not re.search(r"[\n,]|^(Apt|Suite|nan)| and ", v, re.I)


class Values:
    """Values of each type: those of the training texts, and made ones."""
    def __init__(self, data, train):
        self.lists, self.seen = lists(data), {}
        for text, spans in train:
            for kind, a, b in spans:
                self.seen.setdefault(kind, []).append(text[a:b])
        self.seen = {k: sorted(set(v)) for k, v in self.seen.items()}
        self.streets = [v for v in self.seen["ADDRESS"] if street(v)]

    def name(self, rng):
        if rng.random() < 0.3:
            return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))).capitalize()
        return rng.choice(self.lists["last"])

    def digits(self, rng, pattern):
        return "".join(rng.choice("0123456789") if c == "#" else rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") if c == "@" else c for c in pattern)

    def street(self, rng):
        n, l = rng.choice(["#", "##", "##", "###", "####"]), self.name(rng)
        p = rng.random()
        line = (rng.choice(self.streets) if p < 0.4 else f"{l} {rng.choice(STREETS)}" if p < 0.55 else f"{n} {l} {rng.choice(STREETS)}"
                if p < 0.7 else rng.choice(FOREIGN).format(l=l, n=n, n2="##"))
        return self.digits(rng, line) if p >= 0.4 else re.sub(r"\d", lambda m: rng.choice("123456789"), line)

    def city(self, rng):
        c = rng.choice(self.seen["LOCATION"]) if rng.random() < 0.5 else rng.choice(self.lists["city"])
        return c.upper() if rng.random() < 0.1 else c

    def address(self, rng):
        p, city, country = rng.random(), self.city(rng), rng.choice(self.lists["country"])
        if p < 0.08:
            return rng.choice(["the corner of {} and {}", "{} and {}"]).format(self.street(rng), self.street(rng))
        if p < 0.14:
            return self.digits(rng, rng.choice(["PSC ####, Box ####\nAPO AP #####", "Unit #### Box ####\nDPO AE #####", "USNS {l}\nFPO AA #####"]).format(l=self.name(rng)))
        line = self.street(rng) if p < 0.3 else "## " + self.street(rng)
        if p < 0.22:
            return self.digits(rng, line)
        if p < 0.4:
            return self.digits(rng, rng.choice(["{l}\n{c}, @@ #####", "{l}, {c}", "{l}, {c}, {k}", "{l}\n{c}\n, nan\n #####", "{l} {c}, @@ #####"]).format(l=line, c=city, k=country))
        sep, flat = rng.choice([" ", ", ", "\n ", "\n "]), rng.choice(["Apt. ###", "Suite ###", "Apt ##"])
        parts = [line] + [flat] * (rng.random() < 0.8) + [city, country + rng.choice([" #####", " #####", ""])]
        return self.digits(rng, sep.join(parts))

    def made(self, kind, rng):
        l, d = self.lists, lambda *p: self.digits(rng, rng.choice(p))
        if kind == "PERSON":
            f, n = rng.choice(l["first"]) if rng.random() < 0.85 else self.name(rng), self.name(rng)
            if rng.random() < 0.06:
                f, n = f.upper(), n.upper()
            return rng.choice([f, f, f"{f} {n}", f"{f} {n}", f"{f} {n}", n, f"{f} {rng.choice('ABCDEFGHJKLMNRST')}. {n}", f"{f} {self.name(rng)} {n}"])
        if kind == "LOCATION":
            return rng.choice([rng.choice(l["city"]), rng.choice(l["country"]), rng.choice(l["capital"]), self.name(rng)])
        if kind == "ORGANIZATION":
            w = rng.choice(l["word"]).capitalize()
            return rng.choice([f"{w} {rng.choice(['Inc.', 'Ltd', 'Group', 'Systems', 'Bank', 'Labs', 'and Sons', 'Co.', 'Media', 'Foods'])}",
                               f"{self.name(rng)} & {self.name(rng)}", w + rng.choice(["soft", "tech", "com", "ify", "works"]), f"{self.name(rng)} {w}"])
        if kind == "EMAIL_ADDRESS":
            a, b = rng.choice(l["first"]), self.name(rng)
            user = rng.choice([f"{a}{b}", f"{a.lower()}.{b.lower()}", f"{a.lower()}{rng.randint(1, 99)}", f"{a[0].lower()}{b.lower()}", b.lower()])
            return f"{user}@{rng.choice(l['word']).lower()}.{rng.choice('com org net de fr hu us co.uk it es info'.split())}".replace(" ", "")
        if kind == "DOMAIN_NAME":
            w = rng.choice(l["word"]).capitalize() + rng.choice(["", rng.choice(l["word"]).capitalize()])
            return rng.choice(["https://www.{}.com/", "http://{}.org/", "www.{}.com", "https://{}.de/", "http://{}.cz/", "{}.com"]).format(w)
        if kind == "DATE_TIME":
            m = rng.choice("January February March April May June July August September October November December".split())
            y = rng.randint(1930, 2029)
            return rng.choice([f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/{y}", f"{y}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
                               f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/{y}", f"{y}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}",
                               rng.choice("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()), f"{m} {rng.randint(1, 28)}, {y}", f"{rng.randint(1, 28)} {m}", f"{rng.randint(1, 28)}.{rng.randint(1, 12)}.{y}", f"{m} {y}"])
        if kind == "ADDRESS":
            return self.address(rng)
        if kind == "TITLE":
            return rng.choice(l["job"])
        if kind == "PREFIX":
            return rng.choice("Mr. Mrs. Ms. Dr. Miss Mr Mrs Dr Prof.".split())
        if kind == "STREET":
            return self.street(rng)
        if kind in ("CITY", "COUNTRY"):
            return self.city(rng) if kind == "CITY" else rng.choice(l["country"])
        return {"PHONE_NUMBER": lambda: d("###-###-####", "(###) ###-####", "(###)###-####", "+## ## #### ####", "+1 ### ### ####", "0## ### ## ##",
                                          "##########", "## ## ## ##", "##-##-##-##", "(##) ####-####", "06 ## ## ## ##", "0###-#######", "+##-###-######"),
                "CREDIT_CARD": lambda: d("4###############", "5###############", "4### #### #### ####", "5###-####-####-####", "3##############", "6011############"),
                "US_SSN": lambda: d("###-##-####", "###-##-####", "### ## ####", "#########"),
                "IBAN_CODE": lambda: d("DE####################", "GB##@@@@##############", "FR#########################", "IT##@######################",
                                       "CH###################", "ES## #### #### #### #### ####", "LV##@@@@#############", "@@##@@@@############"),
                "IP_ADDRESS": lambda: ".".join(str(rng.randint(1, 254)) for _ in range(4)) if rng.random() < 0.7
                else ":".join(f"{rng.randrange(65536):x}" for _ in range(8)),
                "US_DRIVER_LICENSE": lambda: d("@#######", "@@######", "#########", "@###-####-####", "@########", "########"),
                "PASSPORT": lambda: d("@########", "@@#######", "#########"), "ACCOUNT_NUMBER": lambda: d("########", "##########", "############"),
                "NUM": lambda: d("#", "##", "##", "###"), "ZIP": lambda: d("#####", "#####", "####"), "APT": lambda: d("Apt. ###", "Suite ###", "Apt ##"),
                "PASSWORD": lambda: rng.choice(l["word"]).capitalize() + d("##!", "@#@#", "####", "#$#", "_###"),
                }.get(kind, lambda: d("@@@-#######", "#####-@@", "@#####", "########"))()

    def any(self, kind, rng):
        share = 0.6 if kind in ("ORGANIZATION", "TITLE", "PREFIX", "DOMAIN_NAME", "EMAIL_ADDRESS") else 0.35
        if kind in self.seen and rng.random() < share:
            return rng.choice(self.seen[kind])
        return self.made(kind, rng)

    def change(self, text, spans, rng):
        """The same sentence about somebody else."""
        out, new, at = "", [], 0
        for kind, a, b in spans:
            old = text[a:b]
            v = self.any(kind, rng) if a >= at and rng.random() < 0.85 else old
            # Part of an address stays of its kind: a number a number, a street a street.
            if kind == "ADDRESS" and street(old):
                v = self.street(rng)
            elif kind == "ADDRESS" and b - a < 14:
                v = re.sub(r"\d", lambda m: rng.choice("0123456789"), old)
            out += text[at:a]
            new.append((kind, len(out), len(out) + len(v)))
            out, at = out + v, b
        return out + text[at:], new

    def template(self, rng):
        n, text, spans = rng.choice([1, 1, 1, 2, 2, 3]), "", []
        for t in rng.sample(MADE, n):
            at = 0
            for m in re.finditer(r"\{([A-Z_]+)\}", t):
                text += t[at:m.start()]
                v = self.made(m[1], rng)
                spans.append((PARTS.get(m[1], m[1]), len(text), len(text) + len(v)))
                text, at = text + v, m.end()
            text += t[at:] + rng.choice([" ", " ", "\n"])
        return text.strip(), spans


def answer(text, spans):
    return json.dumps({"pii": [{"type": k, "text": text[a:b]} for k, a, b in spans]}, ensure_ascii=False)


def example(train, sets, values, clean, everyday, rng):
    nano, dogo = sets
    p = rng.random()
    if p < 0.20:
        text, spans = rng.choice(train)
    elif p < 0.50:
        text, spans = values.change(*rng.choice(train), rng)
    elif p < 0.74:
        text, spans = values.template(rng)
    elif p < 0.84:
        text, spans = values.change(*rng.choice(everyday), rng)
    elif p < 0.88:
        text, spans = values.change(*rng.choice(nano), rng)
    elif p < 0.90:
        text, spans = rng.choice(dogo)
    else:
        text, spans = rng.choice(clean), []
    if len(text) > 420:
        return example(train, sets, values, clean, everyday, rng)
    if p > 0.20 and rng.random() < 0.1 and len(text.lower()) == len(text):
        text = text.lower()
    return rng.choice([ASK[0], ASK[0], *ASK]) % text, answer(text, spans)
