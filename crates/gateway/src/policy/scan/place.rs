//! Addresses and names, where the text itself says that they are.

use super::page::Page;
use super::{Raw, forms};
use crate::policy::Kind;
use regex_automata::meta::{BuildError, Regex};
use std::ops::Range;

/// The forms of addresses and names.
pub struct Places {
    addresses: Regex,
    names: Regex,
}

const ADDRESSES: &[&str] = &[
    r"\b[0-9]{1,6}[A-Za-z]?,? (?:[0-9]{1,4}(?:st|nd|rd|th)? )?(?:[NSEW]\.? )?(?:[A-Z][A-Za-z'.-]* ){1,4}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Way|Court|Ct|Place|Pl|Boulevard|Blvd|Square|Sq|Highway|Hwy|Parkway|Pkwy|Terrace|Crescent|Cres|Close|Alley|Trail|Circle|Row|Grove|Gardens|Hill|Quay|Wharf|Mews)\b\.?(?:,? (?:Apt|Suite|Unit|Ste|Flat|#)\.? ?[0-9A-Za-z]{1,6})?",
    r"\b(?:[A-Z][A-Za-z.-]* ){0,2}[A-Z][a-z-]*(?:stra(?:ss|\xC3\x9F)e|str\.|gasse|weg|platz|allee|damm|ufer|laan|straat|gracht|plein|gatan|vagen|vej|gade|veien|gata|katu|tie|utca) [0-9]{1,4}[A-Za-z]?\b",
    r"\b(?i:rue|via|viale|piazza|corso|calle|carrer|avenida|av\.|rua|travessa|ul\.|ulica|aleja|plaza|paseo|chemin|impasse|allee) (?:(?i:de la|de|du|des|del|della|dos|da|do|la|le|los|las) )?(?:[A-Z][A-Za-z'.-]*,? ){1,4}(?i:n[o.]? ?)?[0-9]{1,5}\b",
    r"\b[0-9]{1,4}(?: ?bis)?,? (?i:rue|avenue|boulevard|place|chemin|allee|impasse|quai) (?:(?i:de la|de|du|des|d'|l')[ ]?)*[A-Z][A-Za-z'-]+(?: [A-Z][A-Za-z'-]+){0,3}",
    r"(?i:\bp\.? ?o\.? box [0-9]{1,7}\b)",
    r"\b(?:Unit|PSC|CMR|USNS|USS|USCGC) [A-Za-z0-9]{2,12},? (?:Box [0-9]{1,6}|FPO A[AEP] [0-9]{5})\b",
    r"\b(?:APO|FPO|DPO),? A[AEP] [0-9]{5}\b",
    r"\b(?:[A-Z][A-Za-z.'-]+ ){0,3}[A-Z][A-Za-z.'-]+, (?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]),? [0-9]{5}(?:-[0-9]{4})?\b",
    r"\b(?:GIR 0AA|(?:[A-PR-UWYZ][0-9][0-9A-HJKPSTUW]?|[A-PR-UWYZ][A-HK-Y][0-9][0-9ABEHMNPRVWXY]?) [0-9][ABD-HJLNP-UW-Z]{2})\b",
    r"\b[ABCEGHJ-NPRSTVXY][0-9][ABCEGHJ-NPRSTV-Z] [0-9][ABCEGHJ-NPRSTV-Z][0-9]\b",
];

const NAME: &str = r"[A-Z][a-z'-]+(?:[A-Z][a-z]+)?(?:[ -](?:van |von |de |der |den |da |di |del |la |le |bin |al-)*[A-Z][A-Za-z'-]*\.?){0,3}";

const FULL_NAME: &str = r"[A-Z][a-z'-]+(?:[A-Z][a-z]+)?(?:[ -](?:van |von |de |der |den |da |di |del |la |le |bin |al-)*[A-Z][A-Za-z'-]*\.?){1,3}";

impl Places {
    pub fn new() -> Result<Self, Box<BuildError>> {
        let names = [
            format!(
                r"\b(?:[Mm]y|[Hh]is|[Hh]er|[Tt]heir|[Ff]ull|[Pp]atient|[Cc]lient) (?:full )?name(?: is|'s|:) ({NAME})"
            ),
            format!(
                r"(?m)^[ \t>*-]*(?i:name|full name|patient|patient name|customer|client|contact|first name|last name|surname)[ \t]*:[ \t]*({NAME})"
            ),
            format!(
                r"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herr|Frau|Monsieur|Madame|Mme|Senor|Senora|Sr|Sra|Signor|Signora)\.? ({NAME})"
            ),
            format!(
                r"\b(?:[Mm]ein Name ist|[Ii]ch heisse|[Jj]e m'appelle|[Mm]e llamo|[Mm]i chiamo|[Mm]eu nome e|[Mm]ijn naam is|[Jj]ag heter) ({NAME})"
            ),
            format!(
                r"\b(?:I am|I'm|This is|[Dd]ear|[Ss]igned|[Rr]egards|[Ss]incerely),? ({FULL_NAME})"
            ),
        ];
        Ok(Self {
            addresses: forms(ADDRESSES)?,
            names: forms(&names)?,
        })
    }

    pub fn find(&self, page: &Page<'_>, finds: &mut Vec<Raw>, taken: &mut Vec<Range<usize>>) {
        for found in self.addresses.find_iter(page.text) {
            let range = found.range();
            taken.push(range.clone());
            finds.push(Raw::new(Kind::Address, "", range));
        }
        taken.sort_by_key(|range| (range.start, range.end));
        for found in self.names.captures_iter(page.text) {
            if let Some(name) = found.get_group(1) {
                finds.push(Raw::new(Kind::Name, "", name.range()));
            }
        }
    }
}
