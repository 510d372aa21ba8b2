//! Dials to IPv4 addresses on a network that has IPv6 only and a translator (NAT64).
//!
//! A host name needs nothing from here: the resolver of such a network returns IPv6 addresses that
//! lead through the translator (DNS64). An IPv4 address in a URL is never looked up, so its IPv6
//! address is made here. The prefix of the translator is found by looking up a name whose IPv4
//! addresses are known (RFC 7050).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A name that has IPv4 addresses only, and these addresses (RFC 7050, 8).
pub(super) const KNOWN_NAME: &str = "ipv4only.arpa";
const KNOWN_ADDRESSES: [[u8; 4]; 2] = [[192, 0, 0, 170], [192, 0, 0, 171]];

/// The positions of the four bytes of an IPv4 address after prefixes of 96, 64, 56, 48, 40 and 32
/// bits. Byte 8 is never used (RFC 6052, 2.2).
const POSITIONS: [[usize; 4]; 6] =
    [[12, 13, 14, 15], [9, 10, 11, 12], [7, 9, 10, 11], [6, 7, 9, 10], [5, 6, 7, 9], [4, 5, 6, 7]];

/// Returns false for the addresses of this machine and of its own link, which no translator
/// carries.
pub(super) fn is_worth_translating(address: Ipv4Addr) -> bool {
    !(address.is_loopback() || address.is_link_local() || address.is_unspecified())
}

/// Returns the addresses that lead to `address` through the translators that the answer for
/// [`KNOWN_NAME`] shows. The ports are those of the answer.
pub(super) fn translate(address: Ipv4Addr, answer: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for known in answer {
        let IpAddr::V6(v6) = known.ip() else { continue };
        let Some(translated) = replace(v6, address) else { continue };
        let translated = SocketAddr::new(translated.into(), known.port());
        // The two known addresses of one translator give the same result.
        if !addresses.contains(&translated) {
            addresses.push(translated);
        }
    }
    addresses
}

/// Returns `within` with `address` in the place of a known address. `None` means that `within`
/// contains no known address.
fn replace(within: Ipv6Addr, address: Ipv4Addr) -> Option<Ipv6Addr> {
    let mut bytes = within.octets();
    let positions = POSITIONS
        .iter()
        .find(|positions| KNOWN_ADDRESSES.contains(&positions.map(|position| bytes[position])))?;
    for (position, byte) in positions.iter().zip(address.octets()) {
        bytes[*position] = byte;
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(address: &str, answer: &[&str]) -> Vec<String> {
        let answer: Vec<_> =
            answer.iter().map(|ip| SocketAddr::new(ip.parse().expect(ip), 443)).collect();
        let addresses = translate(address.parse().expect(address), &answer);
        addresses.iter().map(ToString::to_string).collect()
    }

    /// The table of RFC 6052, 2.4, for 192.0.2.33. The answers are what a resolver returns for the
    /// known name (RFC 7050).
    #[test]
    fn every_length_of_prefix_is_that_of_the_rfc() {
        for (answer, expected) in [
            ("2001:db8:c000:aa::", "2001:db8:c000:221::"),
            ("2001:db8:1c0:0:aa::", "2001:db8:1c0:2:21::"),
            ("2001:db8:122:c000:0:aa00::", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:3c0:0:aa::", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344:c0:0:aa00::", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::192.0.0.170", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::192.0.0.171", "64:ff9b::192.0.2.33"),
        ] {
            let expected: Ipv6Addr = expected.parse().expect(expected);
            assert_eq!(translated("192.0.2.33", &[answer]), [format!("[{expected}]:443")]);
        }
    }

    #[test]
    fn each_translator_is_named_once_and_what_shows_none_is_skipped() {
        let answer = [
            "192.0.0.170",
            "64:ff9b::192.0.0.170",
            "64:ff9b::192.0.0.171",
            "2001:db8::1",
            "2001:db8:c000:ab::",
        ];
        let both = ["[64:ff9b::808:808]:443", "[2001:db8:808:808::]:443"];
        assert_eq!(translated("8.8.8.8", &answer), both);
        assert_eq!(translated("8.8.8.8", &answer[..1]), [""; 0]);
    }

    #[test]
    fn addresses_of_this_machine_are_not_translated() {
        for (address, is_worth) in [
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.1.1", false),
            ("8.8.8.8", true),
            // The translator of a private network may carry this one.
            ("10.0.0.1", true),
        ] {
            assert_eq!(is_worth_translating(address.parse().expect(address)), is_worth);
        }
    }
}
