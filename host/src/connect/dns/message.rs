//! Questions and answers as they are on the wire (RFC 1035, section 4; SRV: RFC 2782).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Endpoints of a service.
    Srv,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// There are some, which hold for so many seconds.
    Records {
        /// At least one.
        records: Vec<Record>,
        /// Seconds.
        ttl: u32,
    },
    /// There are none; where it is said, for so many seconds.
    Nothing {
        /// Seconds.
        ttl: Option<u32>,
    },
    /// It does not fit into a packet.
    Truncated,
    /// The server cannot say, by this code.
    Failed(u8),
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Of a host.
    Address(IpAddr),
    /// Of a service.
    Service(Service),
}

/// An endpoint of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Those with the lowest come first.
    pub priority: u16,
    /// Its part beside others of the same priority.
    pub weight: u16,
    /// Never 0.
    pub port: u16,
    /// In lower case, without a final dot.
    pub host: String,
}

/// Why a message is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// To another question, or none at all.
    Other,
    /// Not as the standard says.
    Malformed,
}

const HEADER: usize = 12;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const IN: u16 = 1;
/// The most records of one message that are looked at.
const MOST: u16 = 1024;
/// The most aliases from one name to the next. Resolvers follow 8 to 16.
const MOST_ALIASES: usize = 16;
/// Bytes of a name as text, at most: 255 on the wire.
const LONGEST_NAME: usize = 253;

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

/// A question for this name; none where it is no name.
#[must_use]
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return None;
    }
    // One question, and the wish that the server asks others.
    let mut out = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        out.push(length);
        out.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    out.push(0);
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&IN.to_be_bytes());
    Some(out)
}

/// The answer to a question, as [`question`] made it.
///
/// # Errors
/// It is none.
pub fn read(message: &[u8], question: &[u8]) -> Result<Reply, Bad> {
    let header = message.get(..HEADER).ok_or(Bad::Other)?;
    let asked = question.get(HEADER..).ok_or(Bad::Other)?;
    let is_answer = header[2] & 0x80 != 0 && header[..2] == question[..2];
    if !is_answer || number(message, 4) != Ok(1) {
        return Err(Bad::Other);
    }
    // Servers say the question again, some of them with their own capitals.
    let said = message.get(HEADER..HEADER + asked.len()).ok_or(Bad::Other)?;
    if !said.eq_ignore_ascii_case(asked) {
        return Err(Bad::Other);
    }
    if header[2] & 0x02 != 0 {
        return Ok(Reply::Truncated);
    }
    let code = header[3] & 0x0f;
    // No error, or: there is no such name.
    if !matches!(code, 0 | 3) {
        return Ok(Reply::Failed(code));
    }
    let (answers, others) = (number(message, 6)?, number(message, 8)?);
    if answers > MOST || others > MOST {
        return Err(Bad::Malformed);
    }
    let mut cursor = Cursor { message, at: HEADER + asked.len() };
    let (mut name, at) = name_at(message, HEADER)?;
    let kind = number(message, at)?;
    let entries: Vec<Entry<'_>> = (0..answers).map(|_| cursor.entry()).collect::<Result<_, _>>()?;
    let mut ttl = u32::MAX;
    for _ in 0..MOST_ALIASES {
        let own: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.name == name && entry.kind == kind).collect();
        if !own.is_empty() {
            let ttl = own.iter().map(|entry| entry.ttl).min().unwrap_or(0).min(ttl);
            let records = own.iter().map(|entry| entry.record(message)).collect::<Result<Vec<_>, _>>()?;
            let records: Vec<Record> = records.into_iter().flatten().collect();
            // A service of the root is none at all (RFC 2782).
            return Ok(if records.is_empty() {
                Reply::Nothing { ttl: Some(ttl) }
            } else {
                Reply::Records { records, ttl }
            });
        }
        let Some(alias) = entries.iter().find(|entry| entry.name == name && entry.kind == CNAME) else { break };
        ttl = ttl.min(alias.ttl);
        name = name_at(message, alias.data)?.0;
    }
    // That there is nothing holds as long as the zone's own record says (RFC 2308, section 5).
    let mut nothing = None;
    for _ in 0..others {
        let Ok(entry) = cursor.entry() else { break };
        if entry.kind == SOA && entry.length >= 4 {
            nothing = long(message, entry.data + entry.length - 4).ok().map(|least| least.min(entry.ttl).min(ttl));
        }
    }
    Ok(Reply::Nothing { ttl: nothing })
}

/// A record of which the data is not looked at yet.
struct Entry<'m> {
    name: String,
    kind: u16,
    ttl: u32,
    /// Where the data is, and how long.
    data: usize,
    length: usize,
    bytes: &'m [u8],
}

impl Entry<'_> {
    /// None where it stands for nothing.
    fn record(&self, message: &[u8]) -> Result<Option<Record>, Bad> {
        if let Ok(bytes) = <[u8; 4]>::try_from(self.bytes)
            && self.kind == Kind::A.number()
        {
            return Ok(Some(Record::Address(Ipv4Addr::from(bytes).into())));
        }
        if let Ok(bytes) = <[u8; 16]>::try_from(self.bytes)
            && self.kind == Kind::Aaaa.number()
        {
            return Ok(Some(Record::Address(Ipv6Addr::from(bytes).to_canonical())));
        }
        if self.kind != Kind::Srv.number() || self.length < 7 {
            return Err(Bad::Malformed);
        }
        let number = |place| number(message, self.data + place);
        let (priority, weight, port) = (number(0)?, number(2)?, number(4)?);
        let (host, end) = name_at(message, self.data + 6)?;
        if end > self.data + self.length {
            return Err(Bad::Malformed);
        }
        let there = !host.is_empty() && port != 0;
        Ok(there.then_some(Record::Service(Service { priority, weight, port, host })))
    }
}

struct Cursor<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Cursor<'m> {
    fn entry(&mut self) -> Result<Entry<'m>, Bad> {
        let (name, at) = name_at(self.message, self.at)?;
        let (kind, class) = (number(self.message, at)?, number(self.message, at + 2)?);
        // A time with its highest bit set is none (RFC 2181, section 8).
        let ttl = long(self.message, at + 4).map(|ttl| if ttl >> 31 == 0 { ttl } else { 0 })?;
        let length = usize::from(number(self.message, at + 8)?);
        let data = at + 10;
        let bytes = self.message.get(data..data + length).ok_or(Bad::Malformed)?;
        self.at = data + length;
        // Of another class, it is of no kind that we know.
        let kind = if class == IN { kind } else { 0 };
        Ok(Entry { name, kind, ttl, data, length, bytes })
    }
}

fn number(message: &[u8], at: usize) -> Result<u16, Bad> {
    let bytes = message.get(at..at + 2).ok_or(Bad::Malformed)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn long(message: &[u8], at: usize) -> Result<u32, Bad> {
    Ok(u32::from(number(message, at)?) << 16 | u32::from(number(message, at + 2)?))
}

/// The name at a place, in lower case, and where what follows it is. The root is empty. Pointers only ever lead back, so
/// that no message leads in a circle.
fn name_at(message: &[u8], at: usize) -> Result<(String, usize), Bad> {
    let mut name = String::new();
    let (mut place, mut before, mut end) = (at, at, None);
    loop {
        let length = *message.get(place).ok_or(Bad::Malformed)?;
        match length {
            0 => return Ok((name, end.unwrap_or(place + 1))),
            1..=63 => {
                let label = message.get(place + 1..=place + usize::from(length)).ok_or(Bad::Malformed)?;
                if !name.is_empty() {
                    name.push('.');
                }
                if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*')) {
                    return Err(Bad::Malformed);
                }
                name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                if name.len() > LONGEST_NAME {
                    return Err(Bad::Malformed);
                }
                place += 1 + usize::from(length);
            }
            0xc0.. => {
                let to = usize::from(number(message, place)? & 0x3fff);
                if to >= before {
                    return Err(Bad::Malformed);
                }
                end = end.or(Some(place + 2));
                (place, before) = (to, to);
            }
            _ => return Err(Bad::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `question` with these records: name, kind, seconds, data.
    fn answer(question: &[u8], code: u8, records: &[(&[u8], u16, u32, &[u8])]) -> Vec<u8> {
        let mut out = question.to_vec();
        out[2..4].copy_from_slice(&[0x81, 0x80 | code]);
        out[7] = records.len() as u8;
        for (name, kind, ttl, data) in records {
            out.extend_from_slice(name);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&IN.to_be_bytes());
            out.extend_from_slice(&ttl.to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }

    /// The name of the question, as later names point to it.
    const SAME: &[u8] = &[0xc0, 12];

    #[test]
    fn addresses_hold_as_long_as_the_shortest_of_them() {
        let question = question(7, "Origin.test", Kind::A).unwrap();
        let message = answer(&question, 0, &[(SAME, 1, 300, &[10, 0, 0, 1]), (SAME, 1, 60, &[10, 0, 0, 2])]);
        let records = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|ip| Record::Address(IpAddr::from(ip)));
        assert_eq!(read(&message, &question), Ok(Reply::Records { records: records.into(), ttl: 60 }));
    }

    #[test]
    fn an_alias_is_followed_and_its_time_counts() {
        let question = question(7, "origin.test", Kind::A).unwrap();
        let alias: &[u8] = &[1, b'b', 0xc0, 19];
        let records = [(SAME, 5, 5, alias), (&[1, b'b', 4, b't', b'e', b's', b't', 0], 1, 60, &[10, 0, 0, 1])];
        let Reply::Records { records, ttl } = read(&answer(&question, 0, &records), &question).unwrap() else {
            panic!()
        };
        assert_eq!((records, ttl), (vec![Record::Address(IpAddr::from([10, 0, 0, 1]))], 5));
        // What nobody asked about is no answer.
        let other = answer(&question, 0, &[(&[1, b'x', 0], 1, 60, &[10, 0, 0, 1])]);
        assert_eq!(read(&other, &question), Ok(Reply::Nothing { ttl: None }));
        // A circle ends.
        let circle = answer(&question, 0, &[(SAME, 5, 5, SAME)]);
        assert_eq!(read(&circle, &question), Ok(Reply::Nothing { ttl: None }));
    }

    #[test]
    fn a_service_has_its_priority_weight_port_and_host() {
        let question = question(7, "_http._tcp.origin.test", Kind::Srv).unwrap();
        let data = |port: u8, host: &[u8]| [&[0, 10, 0, 60, 31, port], host].concat();
        let (one, none) = (data(144, &[1, b'A', 4, b't', b'e', b's', b't', 0]), data(144, &[0]));
        let message = answer(&question, 0, &[(SAME, 33, 30, &one), (SAME, 33, 30, &none)]);
        let service = Service { priority: 10, weight: 60, port: 8080, host: "a.test".into() };
        assert_eq!(read(&message, &question), Ok(Reply::Records { records: vec![Record::Service(service)], ttl: 30 }));
        let nowhere = answer(&question, 0, &[(SAME, 33, 30, &none)]);
        assert_eq!(read(&nowhere, &question), Ok(Reply::Nothing { ttl: Some(30) }));
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_passed_over() {
        let asked = question(7, "origin.test", Kind::A).unwrap();
        let right = answer(&asked, 0, &[(SAME, 1, 60, &[10, 0, 0, 1])]);
        assert!(read(&right, &asked).is_ok());
        let mut other_case = right.clone();
        other_case[13] = b'O';
        assert!(read(&other_case, &asked).is_ok());
        for (place, byte) in [(1, 8), (2, 1), (13, b'p'), (5, 2), (26, 28)] {
            let mut wrong = right.clone();
            wrong[place] = byte;
            assert_eq!(read(&wrong, &asked), Err(Bad::Other), "{place}");
        }
        assert_eq!(read(&[], &asked), Err(Bad::Other));
        assert_eq!(read(&answer(&asked, 2, &[]), &asked), Ok(Reply::Failed(2)));
        let mut long = right;
        long[2] |= 2;
        assert_eq!(read(&long, &asked), Ok(Reply::Truncated));
    }

    #[test]
    fn that_there_is_nothing_holds_as_long_as_the_zone_says() {
        let question = question(7, "origin.test", Kind::A).unwrap();
        let zone = [&[0, 0][..], &[0; 16], &20_u32.to_be_bytes()].concat();
        let mut message = answer(&question, 3, &[(SAME, SOA, 900, &zone)]);
        // It stands in the second section.
        (message[7], message[9]) = (0, 1);
        assert_eq!(read(&message, &question), Ok(Reply::Nothing { ttl: Some(20) }));
    }

    #[test]
    fn names_that_lead_forward_or_nowhere_are_malformed() {
        let question = question(7, "origin.test", Kind::A).unwrap();
        for name in [&[0xc0, 0xff][..], &[0xc0, 29], &[0x40], &[63, b'a'], &[1, 0], &[1, b'.', 0]] {
            let message = answer(&question, 0, &[(name, 1, 60, &[10, 0, 0, 1])]);
            assert_eq!(read(&message, &question), Err(Bad::Malformed), "{name:?}");
        }
    }

    #[test]
    fn only_names_can_be_asked_for() {
        for (name, right) in [("a", true), ("a.b", true), ("", false), ("a..b", false), (".", false)] {
            assert_eq!(question(1, name, Kind::A).is_some(), right, "{name}");
        }
        assert!(question(1, &"a".repeat(64), Kind::A).is_none());
        assert!(question(1, &vec!["a".repeat(63); 4].join("."), Kind::A).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), change in prop::collection::vec((0..80_usize, any::<u8>()), 0..6)) {
            let question = question(7, "origin.test", Kind::A).unwrap();
            let _ = read(&bytes, &question);
            let _ = read(&[&question[..], &bytes].concat(), &question);
            let mut near = answer(&question, 0, &[(SAME, 5, 5, &[1, b'b', 0xc0, 19]), (SAME, 1, 60, &[10, 0, 0, 1])]);
            for (place, byte) in change {
                if let Some(old) = near.get_mut(place) {
                    *old = byte;
                }
            }
            let _ = read(&near, &question);
        }
    }
}
