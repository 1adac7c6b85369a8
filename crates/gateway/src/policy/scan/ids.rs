//! National numbers: how they are written, their check, and whether the number alone is proof.

use super::checks as c;

/// When a number that passes its check is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Always: few other numbers pass.
    Alone,
    /// When it is cut into its groups in the usual way, or a word beside it says what it is.
    Written,
    /// When a word beside it says what it is.
    Word,
}

/// A number made of digits alone.
pub struct Id {
    /// Its name in reports.
    pub name: &'static str,
    /// How many digits.
    pub digits: usize,
    /// Its groups as people write them; empty: in any.
    pub groups: &'static [usize],
    /// What stands between the groups where they are proof.
    pub between: &'static str,
    /// Whether a number can be one.
    pub check: fn(&[u8]) -> bool,
    /// When it is believed.
    pub proof: Proof,
    /// Words that say what it is, small, without accents.
    pub words: &'static [&'static str],
}

/// A row of the table, which reads better than ten lines each.
const fn id(
    name: &'static str,
    digits: usize,
    (groups, between): (&'static [usize], &'static str),
    check: fn(&[u8]) -> bool,
    proof: Proof,
    words: &'static [&'static str],
) -> Id {
    Id {
        name,
        digits,
        groups,
        between,
        check,
        proof,
        words,
    }
}

use Proof::{Alone, Word, Written};

/// Words that say of any number that it is a person's.
pub const ANY_ID: &[&str] = &[
    "national id",
    "id number",
    "id no",
    "identity number",
    "identity card",
    "identification number",
    "personal number",
    "personal id",
    "personal code",
    "tax number",
    "tax id",
    "tax identification",
    "taxpayer",
    "social security",
    "social insurance",
    "citizen number",
    "citizen id",
    "id card",
    "national number",
    "tin",
    "insurance number",
    "resident id",
    "resident number",
    "national identity",
    "national identification",
    "personalausweis",
    "ausweisnummer",
    "documento de identidad",
    "carte d'identite",
    "numero fiscal",
    "personnummer",
    "henkilötunnus",
    "rodné číslo",
    "personas kods",
    "número de identificación",
    "cédula",
    "身份证",
    "身份證",
    "身分證",
    "公民身份",
    "マイナンバー",
    "個人番号",
    "주민등록",
    "주민번호",
    "паспорт",
    "снилс",
    "инн",
    "ИНН",
    "СНИЛС",
];

/// All of them. The first that fits counts.
pub const IDS: &[Id] = &[
    id(
        "us-ssn",
        9,
        (&[3, 2, 4], "-"),
        c::us_ssn,
        Written,
        &["ssn", "social security", "soc sec", "social"],
    ),
    id(
        "us-itin",
        9,
        (&[3, 2, 4], "-"),
        c::us_itin,
        Written,
        &["itin", "taxpayer"],
    ),
    id(
        "fr-nir",
        15,
        (&[], ""),
        c::fr_nir,
        Alone,
        &["nir", "insee", "securite sociale"],
    ),
    id(
        "be-nn",
        11,
        (&[2, 2, 2, 3, 2], ".-"),
        c::be_nn,
        Alone,
        &[
            "rijksregister",
            "registre national",
            "numero national",
            "insz",
            "niss",
        ],
    ),
    id(
        "no-fnr",
        11,
        (&[6, 5], " "),
        c::no_fnr,
        Alone,
        &["fodselsnummer", "personnummer", "fnr"],
    ),
    id("pl-pesel", 11, (&[], ""), c::pl_pesel, Alone, &["pesel"]),
    id(
        "ee-lt-code",
        11,
        (&[], ""),
        c::baltic,
        Alone,
        &["isikukood", "asmens kodas"],
    ),
    id(
        "lv-pk",
        11,
        (&[6, 5], "-"),
        c::lv_pk,
        Written,
        &["personas kods"],
    ),
    id(
        "br-cpf",
        11,
        (&[3, 3, 3, 2], ".-"),
        c::br_cpf,
        Written,
        &["cpf"],
    ),
    id(
        "ar-cuit",
        11,
        (&[2, 8, 1], "-"),
        c::ar_cuit,
        Written,
        &["cuit", "cuil"],
    ),
    id(
        "ru-snils",
        11,
        (&[3, 3, 3, 2], "- "),
        c::ru_snils,
        Written,
        &["snils"],
    ),
    id(
        "de-tax",
        11,
        (&[2, 3, 3, 3], " "),
        c::de_tax,
        Written,
        &[
            "steuer-id",
            "steuer id",
            "steueridentifikationsnummer",
            "steuernummer",
            "idnr",
            "identifikationsnummer",
            "steuerliche",
        ],
    ),
    id(
        "au-abn",
        11,
        (&[2, 3, 3, 3], " "),
        c::au_abn,
        Word,
        &["abn"],
    ),
    id("gr-amka", 11, (&[], ""), c::gr_amka, Word, &["amka"]),
    id("hr-oib", 11, (&[], ""), c::hr_oib, Word, &["oib"]),
    id(
        "tr-tckn",
        11,
        (&[], ""),
        c::tr_tckn,
        Word,
        &["tckn", "tc kimlik", "kimlik no", "t.c."],
    ),
    id("cn-id", 18, (&[], ""), cn_digits, Alone, &["shenfenzheng"]),
    id(
        "ch-ahv",
        13,
        (&[3, 4, 4, 2], "."),
        c::ch_ahv,
        Alone,
        &["ahv", "avs"],
    ),
    id("ro-cnp", 13, (&[], ""), c::ro_cnp, Alone, &["cnp"]),
    id(
        "za-id",
        13,
        (&[], ""),
        c::za_id,
        Alone,
        &["rsa id", "south african"],
    ),
    id(
        "kr-rrn",
        13,
        (&[6, 7], "-"),
        c::kr_rrn,
        Written,
        &["rrn", "resident registration"],
    ),
    id(
        "kr-rrn",
        13,
        (&[], ""),
        c::kr_rrn_new,
        Word,
        &["rrn", "resident registration", "주민등록", "주민번호"],
    ),
    id(
        "th-id",
        13,
        (&[1, 4, 5, 2, 1], "- "),
        c::th_id,
        Written,
        &["thai"],
    ),
    id(
        "br-cnpj",
        14,
        (&[2, 3, 3, 4, 2], "./-"),
        c::br_cnpj,
        Written,
        &["cnpj"],
    ),
    id(
        "in-aadhaar",
        12,
        (&[4, 4, 4], " -"),
        c::in_aadhaar,
        Written,
        &["aadhaar", "aadhar", "adhaar", "uidai"],
    ),
    id(
        "my-nric",
        12,
        (&[6, 2, 4], "-"),
        c::my_nric,
        Written,
        &["nric", "mykad"],
    ),
    id(
        "se-pnr",
        12,
        (&[8, 4], "-"),
        c::se_pnr,
        Written,
        &["personnummer", "personnr", "samordningsnummer"],
    ),
    id(
        "jp-number",
        12,
        (&[4, 4, 4], " -"),
        c::jp_number,
        Word,
        &["my number", "mynumber"],
    ),
    id("ru-inn", 12, (&[], ""), c::ru_inn, Word, &["inn"]),
    id(
        "se-pnr",
        10,
        (&[6, 4], "-"),
        c::se_pnr,
        Written,
        &["personnummer", "personnr", "samordningsnummer"],
    ),
    id(
        "cz-sk-rc",
        10,
        (&[6, 4], "/"),
        c::cz_rc,
        Written,
        &["rodne cislo", "rodne c"],
    ),
    id(
        "dk-cpr",
        10,
        (&[6, 4], "-"),
        c::dk_cpr_strict,
        Written,
        &["cpr", "cpr-nummer"],
    ),
    id(
        "dk-cpr",
        10,
        (&[], ""),
        c::dk_cpr,
        Word,
        &["cpr", "cpr-nummer", "cpr-nr"],
    ),
    id(
        "uk-nhs",
        10,
        (&[3, 3, 4], " "),
        c::uk_nhs,
        Word,
        &["nhs", "national health"],
    ),
    id(
        "at-svnr",
        10,
        (&[4, 6], " "),
        c::at_svnr,
        Word,
        &[
            "svnr",
            "sv-nummer",
            "sozialversicherungsnummer",
            "versicherungsnummer",
        ],
    ),
    id("bg-egn", 10, (&[], ""), c::bg_egn, Word, &["egn"]),
    id(
        "au-medicare",
        10,
        (&[4, 5, 1], " "),
        c::au_medicare,
        Word,
        &["medicare"],
    ),
    id(
        "au-medicare",
        11,
        (&[4, 5, 1, 1], " "),
        c::au_medicare,
        Word,
        &["medicare"],
    ),
    id(
        "ca-sin",
        9,
        (&[3, 3, 3], "-"),
        c::ca_sin,
        Written,
        &["sin", "social insurance"],
    ),
    id(
        "nl-bsn",
        9,
        (&[], ""),
        c::nl_bsn,
        Word,
        &["bsn", "burgerservicenummer", "sofinummer"],
    ),
    id(
        "pt-nif",
        9,
        (&[3, 3, 3], " "),
        c::pt_nif,
        Word,
        &["nif", "contribuinte", "numero de contribuinte"],
    ),
    id(
        "au-tfn",
        9,
        (&[3, 3, 3], " "),
        c::au_tfn,
        Word,
        &["tfn", "tax file"],
    ),
    id(
        "il-id",
        9,
        (&[], ""),
        c::il_id,
        Word,
        &["teudat zehut", "israeli id"],
    ),
    id("hu-taj", 9, (&[3, 3, 3], " -"), c::hu_taj, Word, &["taj"]),
    id("nz-ird", 9, (&[3, 3, 3], "-"), c::nz_ird, Word, &["ird"]),
    id("nz-ird", 8, (&[2, 3, 3], "-"), c::nz_ird, Word, &["ird"]),
    id(
        "us-ssn",
        9,
        (&[], ""),
        c::us_ssn,
        Word,
        &["ssn", "social security", "soc sec"],
    ),
];

/// A Chinese number whose check character is a digit; the one with an X is among [`LETTERED`].
fn cn_digits(digits: &[u8]) -> bool {
    let text: String = digits.iter().map(|d| char::from(b'0' + d % 10)).collect();
    c::cn_id(&text)
}

/// A number with letters in it.
pub struct Lettered {
    /// Its name in reports.
    pub name: &'static str,
    /// Its form, for letters in capitals.
    pub form: &'static str,
    /// Whether letters may be small too; such a number needs its word.
    pub check: fn(&str) -> bool,
    /// When it is believed.
    pub proof: Proof,
    /// As in [`Id`].
    pub words: &'static [&'static str],
}

const fn lettered(
    name: &'static str,
    form: &'static str,
    check: fn(&str) -> bool,
    proof: Proof,
    words: &'static [&'static str],
) -> Lettered {
    Lettered {
        name,
        form,
        check,
        proof,
        words,
    }
}

fn uk_nino(text: &str) -> bool {
    let head = text.get(..2).unwrap_or_default();
    !["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"].contains(&head)
}

fn any(_: &str) -> bool {
    true
}

/// The French number of people born in Corsica: 2A counts 19, 2B counts 18.
fn fr_corsica(text: &str) -> bool {
    let digits = text.replace("2A", "19").replace("2B", "18");
    c::fr_nir(&c::digits_of(&digits))
}

/// All of them. What is checked is letters and digits alone, in capitals.
pub const LETTERED: &[Lettered] = &[
    lettered(
        "uk-nino",
        "[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-D]",
        uk_nino,
        Alone,
        &["national insurance", "nino", "ni number", "ni no"],
    ),
    lettered(
        "it-cf",
        "[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-EHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]",
        c::it_cf,
        Alone,
        &["codice fiscale"],
    ),
    lettered(
        "es-nie",
        "[XYZ][ .-]?[0-9]{7}[ .-]?[A-Z]",
        c::es_letter,
        Alone,
        &["nie"],
    ),
    lettered(
        "es-dni",
        "[0-9]{2}[.]?[0-9]{3}[.]?[0-9]{3}[ -]?[A-Z]",
        c::es_letter,
        Alone,
        &["dni", "nif"],
    ),
    lettered(
        "in-pan",
        "[A-Z]{3}[ABCFGHLJPTK][A-Z][0-9]{4}[A-Z]",
        any,
        Alone,
        &["pan", "permanent account"],
    ),
    lettered(
        "fi-hetu",
        "[0-3][0-9][01][0-9]{3}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]",
        c::fi_hetu,
        Alone,
        &["hetu", "henkilotunnus"],
    ),
    lettered(
        "ie-pps",
        "[0-9]{7}[A-W][A-IW]?",
        c::ie_pps,
        Word,
        &["pps", "ppsn"],
    ),
    lettered(
        "cn-id",
        "[1-9][0-9]{16}X",
        c::cn_id,
        Alone,
        &["shenfenzheng"],
    ),
    lettered(
        "sg-nric",
        "[STFGM][0-9]{7}[A-Z]",
        c::sg_nric,
        Alone,
        &["nric", "fin"],
    ),
    lettered(
        "hk-id",
        "[A-Z]{1,2}[0-9]{6}[ ]?[(][0-9A][)]",
        c::hk_id,
        Alone,
        &["hkid"],
    ),
    lettered("tw-id", "[A-Z][12][0-9]{8}", c::tw_id, Alone, &["taiwan"]),
    lettered(
        "cl-rut",
        "[0-9]{1,2}[.][0-9]{3}[.][0-9]{3}-[0-9K]",
        c::cl_rut,
        Alone,
        &["rut"],
    ),
    lettered(
        "cl-rut",
        "[0-9]{7,8}-[0-9K]",
        c::cl_rut,
        Word,
        &["rut", "run"],
    ),
    lettered(
        "mx-curp",
        "[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]",
        c::mx_curp,
        Alone,
        &["curp"],
    ),
    lettered(
        "fr-nir",
        "[12][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?2[AB][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{2}",
        fr_corsica,
        Alone,
        &["nir", "insee", "securite sociale"],
    ),
    lettered("bg-bulstat-vat", "BG[0-9]{9,10}", any, Word, &["vat"]),
];
