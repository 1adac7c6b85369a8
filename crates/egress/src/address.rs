//! Which addresses are public.
//!
//! The tables are the special-purpose address registries of IANA (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::EgressError;

/// Refuses `address` for `host` unless it is public. A host that the user named may be on a private
/// address, this machine included; nobody may name the address from which clouds hand out the
/// machine's own credentials, nor one that is not a host's.
pub(crate) fn check(host: &str, address: IpAddr, named: bool) -> Result<(), EgressError> {
    let host = host.to_owned();
    match kind(address) {
        Kind::Public => Ok(()),
        Kind::Private(_) if named => Ok(()),
        Kind::Private(kind) => Err(EgressError::Address {
            host,
            address,
            kind,
        }),
        Kind::Never(kind) => Err(EgressError::NoHost {
            host,
            address,
            kind,
        }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    /// Only for hosts that the user named.
    Private(&'static str),
    /// For nobody.
    Never(&'static str),
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (169, 254, 169, 254)
        | (169, 254, 170, 2 | 23)
        | (100, 100, 100, 200)
        | (168, 63, 129, 16) => Kind::Never("a cloud's metadata service"),
        (0, ..) => Kind::Never("the unspecified network 0.0.0.0/8"),
        (255, 255, 255, 255) => Kind::Never("the broadcast address"),
        (224..=239, ..) => Kind::Never("a multicast address"),
        (240..=255, ..) => Kind::Never("a reserved address"),
        (127, ..) => Kind::Private("this machine itself (loopback)"),
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => Kind::Private("a private network"),
        (100, 64..=127, ..) => Kind::Private("a carrier's shared network (100.64.0.0/10)"),
        (169, 254, ..) => Kind::Private("a link-local address"),
        (198, 18 | 19, ..) => Kind::Private("a network for benchmarks (198.18.0.0/15)"),
        (192, 0, 0, _) => Kind::Private("a network for protocols (192.0.0.0/24)"),
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => {
            Kind::Private("a network for documentation")
        }
        (192, 88, 99, _) => Kind::Private("the 6to4 relay network"),
        _ => Kind::Public,
    }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    let s = address.segments();
    let low = v4(s[6], s[7]);
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Never("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Private("this machine itself (loopback)"),
        // Addresses that carry an IPv4 address are as public as that one: mapped, compatible,
        // translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), ISATAP (RFC 5214).
        [0, 0, 0, 0, 0, 0xffff, _, _]
        | [0, 0, 0, 0, 0, 0, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => kind_v4(low),
        // A network's own NAT64 prefix: where in it the address lies is not known here.
        [0x64, 0xff9b, 1, ..] => Kind::Private("a network's own NAT64 prefix"),
        [0x2002, high, rest, ..] => kind_v4(v4(high, rest)),
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] if kind_v4(low) != Kind::Public => kind_v4(low),
        // Teredo hides a client's address in its last bits, inverted (RFC 4380).
        [0x2001, 0, ..] => Kind::Private("a Teredo tunnel"),
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Kind::Never("a cloud's metadata service")
        }
        [0xfc00..=0xfdff, ..] => Kind::Private("a private network (unique local)"),
        [0xfe80..=0xfebf, ..] => Kind::Private("a link-local address"),
        [0xfec0..=0xfeff, ..] => Kind::Private("a private network (site local)"),
        [0xff00..=0xffff, ..] => Kind::Never("a multicast address"),
        [0x100, 0, 0, 0, ..] => Kind::Never("the discard prefix"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            Kind::Private("a network for documentation")
        }
        [0x2001, 0..=0x1ff, ..] => Kind::Private("a network for protocols (2001::/23)"),
        // Only 2000::/3 has been given out to networks of the world.
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Never("a reserved address"),
    }
}

/// The IPv4 address in two segments of an IPv6 address.
fn v4(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_refused(text: &str, named: bool) -> bool {
        check("h", text.parse().unwrap(), named).is_err()
    }

    #[test]
    fn public_addresses_pass() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "18.155.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "169.253.1.1",
            "2606:4700::1111",
            "2600:9000::1",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(!is_refused(text, false), "{text}");
        }
    }

    #[test]
    fn private_addresses_are_for_named_hosts_only() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "203.0.113.9",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001::1",
            "2001:db8::1",
            "2600::5efe:a00:1",
            "2600::200:5efe:7f00:1",
            "::ffff:0:a00:1",
        ] {
            assert!(is_refused(text, false), "{text}");
            assert!(!is_refused(text, true), "{text}");
        }
    }

    #[test]
    fn some_addresses_are_for_nobody() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "::",
            "ff02::1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "100::1",
            "4000::1",
            "::ffff:0.0.0.0",
        ] {
            assert!(is_refused(text, true), "{text}");
        }
    }

    proptest! {
        /// However an IPv4 address is wrapped, it is as public as it is bare.
        #[test]
        fn wrapping_makes_nothing_public(bits: u32, rest: u16) {
            let bare = Ipv4Addr::from(bits);
            let [a, b, c, d] = bare.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for wrapped in [
                bare.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, rest),
                Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0x5efe, high, low),
            ] {
                for named in [false, true] {
                    prop_assert_eq!(
                        check("h", bare.into(), named).is_err(),
                        check("h", wrapped.into(), named).is_err(),
                        "{}", wrapped
                    );
                }
            }
        }
    }
}
