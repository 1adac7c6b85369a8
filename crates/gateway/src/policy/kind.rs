//! What can be found in a text, and what it counts as.

use std::fmt;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A key or token whose form a vendor has published.
    VendorKey,
    /// A signed or encrypted JSON web token.
    Jwt,
    /// A private key: PEM, OpenSSH, PGP, PuTTY.
    PrivateKey,
    /// A URL or connection string with a password in it.
    Connection,
    /// A value given to a name that says it is secret.
    Password,
    /// A text too random to be words, beside a word that says what it is.
    HighEntropy,
    /// An e-mail address.
    Email,
    /// A telephone or fax number.
    Phone,
    /// An international bank account number.
    Iban,
    /// A payment card.
    Card,
    /// A number that a state gives to a person or for taxes.
    NationalId,
    /// A passport.
    Passport,
    /// A driving licence.
    DrivingLicence,
    /// A bank account or customer number beside a word that says so.
    Account,
    /// An IPv4 or IPv6 address that is not of a documentation or loopback range.
    IpAddress,
    /// The address of a network card.
    MacAddress,
    /// A date beside a word that says somebody was born on it.
    BirthDate,
    /// A street with a number, a box, a code of a town.
    Address,
    /// The name of a person where the text says that it is one.
    Name,
    /// A web address without credentials. Harmless unless a rule names it.
    WebAddress,
    /// A date written in numbers. Harmless unless a rule names it.
    Date,
    /// A term of the owner's own.
    Term,
}

/// What a rule can speak of as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Keys, tokens, passwords.
    Secret,
    /// What says who somebody is or how to reach him.
    Personal,
    /// The owner's own terms.
    Term,
    /// Counts only where a rule names its kind.
    Harmless,
}

/// Every kind with its name in ingle.toml, in the order of importance: where two finds cover the same
/// bytes equally well, the earlier one stands.
pub const KINDS: &[(Kind, &str, Class)] = &[
    (Kind::PrivateKey, "private-key", Class::Secret),
    (Kind::VendorKey, "vendor-key", Class::Secret),
    (Kind::Jwt, "jwt", Class::Secret),
    (Kind::Connection, "connection-string", Class::Secret),
    (Kind::Password, "password", Class::Secret),
    (Kind::Term, "term", Class::Term),
    (Kind::Iban, "iban", Class::Personal),
    (Kind::Card, "card", Class::Personal),
    (Kind::Email, "email", Class::Personal),
    (Kind::NationalId, "national-id", Class::Personal),
    (Kind::Passport, "passport", Class::Personal),
    (Kind::DrivingLicence, "driving-licence", Class::Personal),
    (Kind::MacAddress, "mac-address", Class::Personal),
    (Kind::IpAddress, "ip-address", Class::Personal),
    (Kind::Account, "account", Class::Personal),
    (Kind::BirthDate, "birth-date", Class::Personal),
    (Kind::Address, "address", Class::Personal),
    (Kind::Phone, "phone", Class::Personal),
    (Kind::Name, "name", Class::Personal),
    (Kind::HighEntropy, "high-entropy", Class::Secret),
    (Kind::WebAddress, "web-address", Class::Harmless),
    (Kind::Date, "date", Class::Harmless),
];

impl Kind {
    fn row(self) -> Option<&'static (Kind, &'static str, Class)> {
        KINDS.iter().find(|(kind, _, _)| *kind == self)
    }

    /// Its name in ingle.toml and in reports.
    pub fn name(self) -> &'static str {
        self.row().map_or("unknown", |(_, name, _)| name)
    }

    /// What it counts as.
    pub fn class(self) -> Class {
        self.row().map_or(Class::Personal, |(_, _, class)| *class)
    }

    /// Place in the order of importance, 0 the first.
    pub(super) fn rank(self) -> usize {
        KINDS
            .iter()
            .position(|(kind, _, _)| *kind == self)
            .unwrap_or(KINDS.len())
    }

    /// The kind of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        KINDS
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(kind, _, _)| *kind)
    }

    /// What stands in a placeholder for it: capitals and underscores.
    pub(super) fn label(self) -> String {
        self.name().to_ascii_uppercase().replace('-', "_")
    }
}

impl Class {
    /// Its name in ingle.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Personal => "personal",
            Self::Term => "term",
            Self::Harmless => "harmless",
        }
    }

    /// The class of that name; `harmless` is none that a rule can name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Secret, Self::Personal, Self::Term]
            .into_iter()
            .find(|class| class.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A piece of a text and what it is. Never holds the piece itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find {
    /// What it is.
    pub kind: Kind,
    /// Which of its kind: `us-ssn`, `github`, the label of a term; may be empty.
    pub detail: String,
    /// Where it begins, in bytes of the text.
    pub start: usize,
    /// Where it ends, in bytes of the text.
    pub end: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for (kind, name, class) in KINDS {
            assert_eq!(Kind::of_name(name), Some(*kind));
            assert_eq!(kind.name(), *name);
            assert_eq!(kind.class(), *class);
        }
        assert_eq!(Class::of_name("harmless"), None);
        assert_eq!(Class::of_name("secret"), Some(Class::Secret));
    }
}
