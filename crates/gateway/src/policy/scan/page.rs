//! A text with the words in it that say what stands beside them.

use super::ids::{ANY_ID, IDS, LETTERED};
use super::view::fold;
use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use std::ops::Range;

/// What a word says of what stands near it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cue {
    /// A telephone number.
    Phone,
    /// A payment card.
    Card,
    /// A bank account.
    Account,
    /// A date of birth.
    Birth,
    /// A passport.
    Passport,
    /// A driving licence.
    Licence,
    /// A number that no person has: an order, a version.
    Thing,
    /// A digest, a commit: random and no secret.
    Digest,
    /// A secret.
    Secret,
    /// A number of a person.
    AnyId,
    /// A number of the row of [`IDS`].
    Id(usize),
    /// A number of the row of [`LETTERED`].
    Lettered(usize),
}

/// A word that was found.
#[derive(Debug, Clone, Copy)]
struct Hit {
    cue: Cue,
    start: usize,
    end: usize,
}

const PHONE: &[&str] = &[
    "phone",
    "telephone",
    "phones",
    "tel",
    "telefon",
    "telefono",
    "telefone",
    "telephone number",
    "mobile",
    "mobil",
    "movil",
    "cell",
    "cellphone",
    "cellular",
    "fax",
    "call",
    "calls",
    "called",
    "calling",
    "caller",
    "dial",
    "ring",
    "reach",
    "reached",
    "answering",
    "contact",
    "hotline",
    "landline",
    "whatsapp",
    "text me",
    "sms",
    "number is",
    "my number",
    "phone number",
    "numero",
    "rufnummer",
    "tlf",
    "puhelin",
    "handynummer",
    "telegram",
    "voicemail",
    "extension",
    "ph",
    "mob",
    "rang",
    "callback",
    "appeler",
    "llamar",
    "llame",
    "anrufen",
    "ligue",
    "chiamare",
    "bel",
    "pager",
    "helpline",
    "switchboard",
    // In other languages, with their accents: texts and words are folded alike.
    "ruf",
    "ruft",
    "anruf",
    "rufen",
    "erreichen",
    "erreichst",
    "telefonnummer",
    "durchwahl",
    "handy",
    "mobilnummer",
    "appelez",
    "appelle",
    "appelez-moi",
    "joindre",
    "téléphone",
    "tél",
    "portable",
    "chiama",
    "chiamami",
    "chiamate",
    "cellulare",
    "cell.",
    "mi trovi",
    "llámame",
    "llama",
    "llámenos",
    "celular",
    "liga",
    "liga-me",
    "ligar",
    "telemóvel",
    "telefoonnummer",
    "telefoon",
    "mobiel",
    "bereiken",
    "gsm",
    "ring mig",
    "når mig",
    "når meg",
    "få fat i mig",
    "nummeret",
    "soita",
    "puh",
    "puhelinnumero",
    "puhelinnumeroni",
    "matkapuhelin",
    "numeroon",
    "zadzwoń",
    "zadzwon",
    "telefonu",
    "komórka",
    "komórkowy",
    "pod numer",
    "zavolejte",
    "zavolajte",
    "volejte",
    "telefonní",
    "telefónne",
    "hívj",
    "hívjon",
    "telefonszám",
    "telefonszámom",
    "számon",
    "sună",
    "sună-mă",
    "numărul",
    "arayın",
    "ara",
    "cep",
    "telefon numaram",
    "numarasından",
    "nazovi",
    "nazovite",
    "mobitel",
    "broj",
    "телефон",
    "телефона",
    "тел",
    "звоните",
    "позвони",
    "позвоните",
    "моб",
    "мобильный",
    "зателефонуйте",
    "τηλέφωνο",
    "τηλ",
    "κινητό",
    "καλέστε",
    "טלפון",
    "נייד",
    "هاتف",
    "جوال",
    "اتصل",
    "โทร",
    "โทรศัพท์",
    "फ़ोन",
    "मोबाइल",
    "电话",
    "電話",
    "手机",
    "手機",
    "拨打",
    "撥打",
    "联系",
    "聯絡",
    "携帯",
    "番号",
    "전화",
    "전화번호",
    "휴대폰",
    "연락처",
    "điện thoại",
    "gọi",
    "telepon",
    "hubungi",
];
const CARD: &[&str] = &[
    "card",
    "credit",
    "debit",
    "visa",
    "mastercard",
    "amex",
    "american express",
    "maestro",
    "discover",
    "cc",
    "kreditkarte",
    "carte",
    "tarjeta",
    "carta di credito",
    "cartao",
    "payment card",
    "pan",
    "kaart",
    "kort",
];
const ACCOUNT: &[&str] = &[
    "account",
    "acct",
    "account number",
    "a/c",
    "sort code",
    "routing",
    "aba",
    "kontonummer",
    "konto",
    "bank account",
    "bankleitzahl",
    "customer number",
    "customer id",
    "policy number",
    "patient",
    "mrn",
    "medical record",
    "member number",
    "member id",
    "membership",
    "insurance policy",
    "health plan",
    "beneficiary",
    "compte",
    "cuenta",
    "bsb",
    "clabe",
    "ifsc",
];
const BIRTH: &[&str] = &[
    "born",
    "birth",
    "birthday",
    "birthdate",
    "birthdays",
    "dob",
    "d.o.b",
    "date of birth",
    "born on",
    "geboren",
    "geburtsdatum",
    "geb",
    "ne le",
    "nee le",
    "naissance",
    "nacido",
    "nacida",
    "nacimiento",
    "nato",
    "nata",
    "nascita",
    "nascido",
    "nascimento",
    "geboortedatum",
    "fodt",
    "fodselsdato",
    "syntymaaika",
    "urodzony",
    "urodzenia",
];
const PASSPORT: &[&str] = &[
    "passport",
    "passport no",
    "passport number",
    "reisepass",
    "reisepassnummer",
    "passeport",
    "pasaporte",
    "passaporto",
    "passaporte",
    "paspoort",
    "passnummer",
    "pass number",
];
const LICENCE: &[&str] = &[
    "driver's license",
    "driver's licence",
    "drivers license",
    "drivers licence",
    "driver license",
    "driver licence",
    "driving license",
    "driving licence",
    "dl",
    "dln",
    "license number",
    "licence number",
    "permis de conduire",
    "fuhrerschein",
    "fuehrerschein",
    "fuhrerscheinnummer",
    "carnet de conducir",
    "patente di guida",
    "rijbewijs",
    "dl number",
    "driver's license number",
    "drivers' license",
    "driver id",
    "driving permit",
];
const THING: &[&str] = &[
    "order",
    "invoice",
    "ticket",
    "version",
    "build",
    "port",
    "pid",
    "line",
    "page",
    "room",
    "row",
    "isbn",
    "issn",
    "error",
    "code",
    "commit",
    "issue",
    "case",
    "bug",
    "model",
    "part",
    "sku",
    "serial",
    "timestamp",
    "epoch",
    "bytes",
    "pixels",
    "score",
    "rfc",
    "chapter",
    "verse",
    "pages",
    "tracking",
    "total",
    "usd",
    "eur",
    "amount",
    "size",
];
const DIGEST: &[&str] = &[
    "sha",
    "sha1",
    "sha256",
    "sha384",
    "sha512",
    "sha-1",
    "sha-256",
    "md5",
    "digest",
    "checksum",
    "hash",
    "commit",
    "etag",
    "integrity",
    "uuid",
    "guid",
    "revision",
    "rev",
    "blake3",
    "crc32",
    "fingerprint",
    "base64",
    "image",
    "png",
    "jpeg",
    "merge",
    "cherry-pick",
    "tree",
    "parent",
    "blob",
    "object",
    "public",
    "nonce",
    "docker",
    "hmac",
];
const SECRET: &[&str] = &[
    "key",
    "api key",
    "apikey",
    "api_key",
    "api-key",
    "token",
    "secret",
    "password",
    "passwd",
    "passwort",
    "pwd",
    "pass",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "bearer",
    "access_key",
    "private",
    "passphrase",
    "contrasena",
    "mot de passe",
    "senha",
    "client_secret",
    "secret_key",
    "access_token",
    "refresh_token",
    "session",
    "cookie",
    "webhook",
    "signing",
    "encryption",
    "login",
    "x-api-key",
    "wachtwoord",
    "haslo",
    "salasana",
    "losenord",
];

/// Finds the words.
pub struct Cues {
    words: AhoCorasick,
    meaning: Vec<Cue>,
}

impl Cues {
    /// All the words.
    ///
    /// # Errors
    /// There are too many, which is no one's fault but this file's.
    pub fn new() -> Result<Self, BuildError> {
        let lists: [(Cue, &[&str]); 10] = [
            (Cue::Phone, PHONE),
            (Cue::Card, CARD),
            (Cue::Account, ACCOUNT),
            (Cue::Birth, BIRTH),
            (Cue::Passport, PASSPORT),
            (Cue::Licence, LICENCE),
            (Cue::Thing, THING),
            (Cue::Digest, DIGEST),
            (Cue::Secret, SECRET),
            (Cue::AnyId, ANY_ID),
        ];
        let ids = IDS.iter().enumerate();
        let ids = ids.map(|(i, id)| (Cue::Id(i), id.words));
        let lettered = LETTERED.iter().enumerate();
        let lettered = lettered.map(|(i, id)| (Cue::Lettered(i), id.words));
        let mut words = Vec::new();
        let mut meaning = Vec::new();
        for (cue, list) in lists.into_iter().chain(ids).chain(lettered) {
            words.extend(list.iter().map(|word| fold(word).to_ascii_lowercase()));
            meaning.extend(std::iter::repeat_n(cue, list.len()));
        }
        let words = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&words)?;
        Ok(Self { words, meaning })
    }
}

/// A folded text, the same in small letters, and its words.
pub struct Page<'a> {
    /// The folded text.
    pub text: &'a str,
    /// In small letters, byte for byte.
    pub lower: String,
    hits: Vec<Hit>,
}

impl<'a> Page<'a> {
    pub fn new(text: &'a str, cues: &Cues) -> Self {
        let lower = text.to_ascii_lowercase();
        let mut hits = Vec::new();
        for found in cues.words.find_overlapping_iter(&lower) {
            let (start, end) = (found.start(), found.end());
            let cue = cues.meaning.get(found.pattern().as_usize());
            if let Some(&cue) = cue
                && is_word(&lower, start..end, cue)
            {
                hits.push(Hit { cue, start, end });
            }
        }
        Self { text, lower, hits }
    }

    /// A piece of the text.
    pub fn cut(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// The byte before a place.
    pub fn before(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at.checked_sub(1)?).copied()
    }

    /// The byte at a place.
    pub fn at(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Whether a word says this of a range: it ends at most `before` bytes before it, or begins at most
    /// `after` bytes behind it.
    pub fn says(&self, cue: Cue, range: &Range<usize>, before: usize, after: usize) -> bool {
        self.nearest(cue, range, before, after).is_some()
    }

    /// How far the nearest word that says this is away, in bytes.
    pub fn nearest(
        &self,
        cue: Cue,
        range: &Range<usize>,
        before: usize,
        after: usize,
    ) -> Option<usize> {
        let from = range.start.saturating_sub(before);
        // Hits are sorted by their ends.
        let first = self.hits.partition_point(|hit| hit.end <= from);
        let near = self.hits.iter().skip(first);
        let near = near.take_while(|hit| hit.end <= range.end.saturating_add(after + 24));
        near.filter(|hit| hit.cue == cue)
            .filter_map(|hit| {
                if hit.end <= range.start {
                    Some(range.start.saturating_sub(hit.end))
                } else if hit.start >= range.end {
                    let gap = hit.start.saturating_sub(range.end);
                    (gap <= after).then_some(gap)
                } else {
                    None
                }
            })
            .min()
    }
}

/// Whether letters end where a word does. Names in programs are words too: `db_password`, `apiKey`.
fn is_word(lower: &str, range: Range<usize>, cue: Cue) -> bool {
    let bytes = lower.as_bytes();
    let before = range.start.checked_sub(1).and_then(|i| bytes.get(i));
    let after = bytes.get(range.end);
    let letter = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    match cue {
        // `MYKEY=`, `authtoken`, `passwords`.
        Cue::Secret => range.len() > 4 || (!letter(before) && !letter(after)),
        _ => !letter(before) && !letter(after),
    }
}
