//! Who makes room when something scarce is used up: one rule for every limit, and pure.
//!
//! The source that holds most makes room, with what it has held longest. So one stranger can take all that there is, and the next
//! person from elsewhere still gets some of it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{AddrParseError, IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Where a client comes from, as far as limits are concerned. A network gives a machine as many IPv6 addresses of one /64 as it wants, so
/// a /64 counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Source {
        Source(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
            ip => ip,
        })
    }
}

/// The address, or the first one of the /64. It is parsed in the same form.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Source {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Source, AddrParseError> {
        Ok(Source::from(text.parse::<IpAddr>()?))
    }
}

/// Returns the holder that makes room for a newcomer: the first of the source that holds most. The newcomer counts as one more of its own
/// source. If that source holds most, or as much as another, nobody makes room.
///
/// Each holder comes with its source and with how much it holds: 1, or bytes. They come in the order in which they are to make room. If
/// nobody is new and there is too much all the same, `newcomer` is `None`.
pub(crate) fn who_makes_room<H>(
    holders: impl IntoIterator<Item = (Source, usize, H)>,
    newcomer: Option<Source>,
) -> Option<H> {
    let mut sources: HashMap<Source, (usize, usize, H)> = HashMap::new();
    for (order, (source, held, holder)) in holders.into_iter().enumerate() {
        sources.entry(source).or_insert((0, order, holder)).0 += held;
    }
    let most_of = |(source, (held, ..)): (&Source, &(usize, usize, H))| {
        held + usize::from(newcomer == Some(*source))
    };
    let most = sources.iter().map(most_of).max()?;
    let own = newcomer.map_or(0, |own| sources.get(&own).map_or(0, |(held, ..)| *held) + 1);
    if own >= most {
        return None;
    }
    let holding_most = sources.into_values().filter(|(held, ..)| *held == most);
    let (.., holder) = holding_most.min_by_key(|(_, order, _)| *order)?;
    Some(holder)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The source of 10.0.0.n.
    pub(crate) fn source(n: u8) -> Source {
        Source(IpAddr::from([10, 0, 0, n]))
    }

    /// The place in the order of the one that makes room.
    fn place(holders: &[u8], newcomer: u8) -> Option<usize> {
        let holders = holders.iter().enumerate();
        who_makes_room(
            holders.map(|(at, n)| (source(*n), 1, at)),
            Some(source(newcomer)),
        )
    }

    #[test]
    fn the_oldest_of_the_source_that_holds_most_makes_room() {
        for (holders, newcomer, expected) in [
            (&[][..], 1, None),
            (&[2], 1, None),
            (&[1], 1, None),
            (&[2, 2], 1, Some(0)),
            (&[3, 2, 2], 1, Some(1)),
            (&[3, 2, 2, 3], 1, Some(0)),
            (&[1, 2, 2, 2], 1, Some(1)),
            // Its own source would hold as much as the other.
            (&[1, 2, 2], 1, None),
            (&[1, 1, 1, 2], 1, None),
            (&[1, 1, 1, 2], 2, Some(0)),
        ] {
            assert_eq!(place(holders, newcomer), expected, "{holders:?} {newcomer}");
        }
    }

    #[test]
    fn what_is_held_in_bytes_counts_in_bytes() {
        let holders = [
            (source(1), 10, "a"),
            (source(2), 11, "b"),
            (source(1), 2, "c"),
        ];
        assert_eq!(who_makes_room(holders, None), Some("a"));
        assert_eq!(who_makes_room(holders, Some(source(1))), None);
        assert_eq!(who_makes_room(holders, Some(source(3))), Some("a"));
    }

    #[test]
    fn an_address_counts_as_ipv4_or_with_its_64() {
        let of = |ip: &str| ip.parse::<Source>().unwrap();
        for (one, other, is_same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", false),
            ("fe80::1", "fe80::2:3", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            assert_eq!(of(one) == of(other), is_same, "{one} {other}");
        }
    }

    proptest! {
        /// However a stranger fills what there is, somebody from elsewhere who holds less than half gets in, and pushes out a stranger.
        #[test]
        fn somebody_from_elsewhere_gets_in(holders in proptest::collection::vec(1_u8..4, 1..60), newcomer in 1_u8..5) {
            let count = |n: u8| holders.iter().filter(|holder| **holder == n).count();
            let most = (1..4).map(count).max().unwrap();
            match place(&holders, newcomer) {
                Some(at) => {
                    prop_assert_eq!(count(holders[at]), most);
                    prop_assert!(holders[at] != newcomer && !holders[..at].contains(&holders[at]));
                    prop_assert!(count(newcomer) + 1 < most);
                }
                None => prop_assert!(count(newcomer) + 1 >= most),
            }
        }
    }
}
