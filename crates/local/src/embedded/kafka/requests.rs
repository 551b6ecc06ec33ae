//! Which requests may reach the mock cluster.
//!
//! It was made for tests: some requests that no client sends end its whole process, by an assertion or by writing to
//! foreign memory. Those stop here, and so does every request that our clients do not need.

/// Requests that the mock cluster answers without such faults. Not included: groups after KIP-848 (68) and pushed
/// telemetry (72), which assert what clients should have sent.
const ALLOWED: [i16; 19] = [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 18, 22, 23, 24, 25, 26, 28, 71];
const JOIN_GROUP: i16 = 11;
const API_VERSIONS: i16 = 18;
/// From the next version on, the mock cluster answers with a list that no client can read, except librdkafka's.
const API_VERSIONS_MAX: i16 = 2;
const UNSUPPORTED_VERSION: i16 = 35;
/// How the bodies begin that the mock cluster does not check itself: the kind, the first version with short lengths
/// (KIP-482), and fields with the versions that have them.
#[rustfmt::skip]
const BEGINNINGS: [(i16, i16, Fields); 11] = {
    use Field::{Int32, NullableText, Text};
    const ALL: Versions = 0..=i16::MAX;
    [
        // OffsetCommit, OffsetFetch
        (8, 8, &[(Text, ALL), (Int32, 1..=i16::MAX), (Text, 1..=i16::MAX), (NullableText, 7..=i16::MAX)]),
        (9, 6, &[(Text, ALL)]),
        // FindCoordinator
        (10, 3, &[(Text, ALL)]),
        // Heartbeat, LeaveGroup, SyncGroup
        (12, 4, &[(Text, ALL), (Int32, ALL), (Text, ALL), (NullableText, 3..=i16::MAX)]),
        (13, 4, &[(Text, ALL), (Text, 0..=2)]),
        (14, 4, &[(Text, ALL), (Int32, ALL), (Text, ALL), (NullableText, 3..=i16::MAX)]),
        // InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit
        (22, 2, &[(NullableText, ALL)]),
        (24, i16::MAX, &[(Text, ALL)]),
        (25, i16::MAX, &[(Text, ALL)]),
        (26, i16::MAX, &[(Text, ALL)]),
        (28, 3, &[(Text, ALL)]),
    ]
};

type Versions = std::ops::RangeInclusive<i16>;
/// Fields, each with the versions that have it.
type Fields = &'static [(Field, Versions)];

#[derive(Debug, Clone, Copy)]
enum Field {
    Int32,
    Text,
    NullableText,
}

/// From the next version on, the mock cluster reads a list's length in the old format.
const JOIN_GROUP_VERSION_MAX: i16 = 5;
/// Kinds of which the mock cluster offers newer versions than it reads rightly, with the newest that it does: later
/// ones have other fields (`JoinGroup`, `LeaveGroup`) or shorter lengths (`SyncGroup`).
const READ_RIGHTLY: [(i16, i16); 3] = [(JOIN_GROUP, JOIN_GROUP_VERSION_MAX), (13, 2), (14, 3)];
/// The mock cluster's own limit.
const PROTOCOLS_MAX: i32 = 1000;

/// Whether a request, without its length, may pass; otherwise why not.
pub(super) fn check(request: &[u8]) -> Result<(), String> {
    let mut rest = Rest(request);
    let too_short = || format!("a request of {} bytes is too short", request.len());
    let (key, version) = rest.i16().zip(rest.i16()).ok_or_else(too_short)?;
    if !ALLOWED.contains(&key) {
        return Err(format!("the embedded Kafka does not know requests of kind {key}"));
    }
    let understood =
        if key == JOIN_GROUP { joins(&mut rest, version) } else { begins(&mut rest, key, version) };
    understood.ok_or_else(|| format!("a request of kind {key}, version {version}, cannot be parsed"))
}

/// The answer, without its length, to a client that asks for versions in a version that is too new: as from a real
/// broker, an error in the first version's format with the version that the client should ask in.
pub(super) fn versions_refused(request: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Rest(request);
    let (key, version, correlation) = (rest.i16()?, rest.i16()?, rest.i32()?);
    (key == API_VERSIONS && version > API_VERSIONS_MAX).then(|| {
        let mut answer = [&correlation.to_be_bytes()[..], &UNSUPPORTED_VERSION.to_be_bytes()].concat();
        answer.extend(1_i32.to_be_bytes());
        answer.extend([API_VERSIONS, 0, API_VERSIONS_MAX].map(i16::to_be_bytes).concat());
        answer
    })
}

/// Whether a request asks which versions are known.
pub(super) fn asks_for_versions(request: &[u8]) -> bool {
    Rest(request).i16() == Some(API_VERSIONS)
}

/// The mock cluster's answer about versions, limited to what [`check`] lets through and the mock cluster reads rightly: a
/// client uses the newest version that it finds. `None`: the answer cannot be read.
pub(super) fn passed_versions(answer: &[u8]) -> Option<Vec<u8>> {
    const HEAD: usize = size_of::<i32>() + size_of::<i16>();
    let mut rest = Rest(answer);
    let head = rest.take(HEAD)?;
    let count = rest.i32()?;
    let mut passed = Vec::new();
    for _ in 0..count {
        let (key, min, max) = (rest.i16()?, rest.i16()?, rest.i16()?);
        let newest = READ_RIGHTLY.iter().find(|(kind, _)| *kind == key);
        let max = newest.map_or(max, |(_, newest)| max.min(*newest));
        if ALLOWED.contains(&key) {
            passed.push([key, min, max].map(i16::to_be_bytes).concat());
        }
    }
    Some([head, &(passed.len() as i32).to_be_bytes(), &passed.concat(), rest.0].concat())
}

/// Whether a request begins with the required texts: the mock cluster reads where they should be.
fn begins(rest: &mut Rest<'_>, key: i16, version: i16) -> Option<()> {
    let Some((_, short_from, fields)) = BEGINNINGS.iter().find(|(known, ..)| *known == key) else {
        return Some(());
    };
    let (_correlation, _client) = (rest.i32()?, rest.nullable_string()?);
    let is_short = version >= *short_from;
    if is_short && rest.varint()? != 0 {
        // Tags in the header; it knows none.
        return None;
    }
    for (field, _) in fields.iter().filter(|(_, versions)| versions.contains(&version)) {
        match field {
            Field::Int32 => drop(rest.i32()?),
            Field::Text if is_short => drop(rest.short_string()?),
            Field::NullableText if is_short => drop(rest.short_nullable_string()?),
            Field::Text => drop(rest.string()?),
            Field::NullableText => drop(rest.nullable_string()?),
        }
    }
    Some(())
}

/// Whether the rest of a `JoinGroup` is valid. If it ends early, the mock cluster frees memory it has not allocated.
fn joins(rest: &mut Rest<'_>, version: i16) -> Option<()> {
    let (_correlation, _client) = (rest.i32()?, rest.nullable_string()?);
    if !(0..=JOIN_GROUP_VERSION_MAX).contains(&version) {
        return None;
    }
    let (_group, _session_timeout) = (rest.string()?, rest.i32()?);
    if version >= 1 {
        rest.i32()?;
    }
    let _member = rest.string()?;
    if version >= 5 {
        rest.nullable_string()?;
    }
    let _protocol_type = rest.string()?;
    let protocols = rest.i32().filter(|count| (0..=PROTOCOLS_MAX).contains(count))?;
    for _ in 0..protocols {
        let _name = rest.string()?;
        let metadata = rest.i32()?;
        rest.take(usize::try_from(metadata).ok()?)?;
    }
    Some(())
}

/// The unread rest.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.i16()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// Seven bits per byte, the lowest first.
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Length plus one; 0 means no text.
    fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?.checked_sub(1)?;
        self.take(length)
    }

    fn short_nullable_string(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?.saturating_sub(1);
        self.take(length)
    }

    /// -1 means no text.
    fn nullable_string(&mut self) -> Option<&'a [u8]> {
        match self.i16()? {
            -1 => Some(&[]),
            length => self.take(usize::try_from(length).ok()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(version: i16, protocols: i32, metadata: i32) -> Vec<u8> {
        let string = |text: &str| [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat();
        let mut request = [&11_i16.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes()].concat();
        request.extend(string("client"));
        request.extend(string("group"));
        request.extend(10_000_i32.to_be_bytes());
        if version >= 1 {
            request.extend(10_000_i32.to_be_bytes());
        }
        request.extend(string(""));
        if version >= 5 {
            request.extend([0xff, 0xff]);
        }
        request.extend(string("consumer"));
        request.extend(protocols.to_be_bytes());
        request.extend(string("range"));
        request.extend(metadata.to_be_bytes());
        request.extend(b"data");
        request
    }

    #[test]
    fn incomplete_or_invalid_joins_are_refused() {
        for version in 0..=5 {
            let whole = join(version, 1, 4);
            assert_eq!(check(&whole), Ok(()), "{version}");
            for end in 0..whole.len() {
                assert!(check(&whole[..end]).is_err(), "{version}: the first {end} bytes");
            }
            for (protocols, metadata) in [(-1, 4), (2, 4), (1001, 4), (i32::MIN, 4), (1, -1), (1, 5)] {
                let bad = check(&join(version, protocols, metadata));
                assert!(bad.is_err(), "{version}: {protocols} protocols, {metadata} bytes");
            }
        }
        assert!(check(&join(6, 1, 4)).is_err());
    }

    #[test]
    fn requests_with_invalid_leading_texts_are_refused() {
        let group = |key: i16, version: i16, text: &[u8]| {
            let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0xff, 0xff]].concat();
            check(&[&head, text, &[0; 30]].concat())
        };
        for key in [8, 9, 10, 12, 13, 14, 24, 25, 26, 28] {
            assert_eq!(group(key, 0, b"\0\x01g"), Ok(()), "{key}");
            for bad in [b"\xff\xff", b"\x80\x00", b"\x7f\xff"] {
                assert!(group(key, 0, bad).is_err(), "{key}: {bad:?}");
            }
        }
        for (key, version) in [(8, 8), (8, 9), (9, 6), (10, 3), (12, 4), (13, 4), (14, 4), (28, 3)] {
            assert_eq!(group(key, version, b"\0\x02g\0\0\0\x01\x02m\0"), Ok(()), "{key}");
            // No text, a wrong length, a length with too many bytes, tags.
            for bad in [&b"\0\0"[..], b"\0\x7f", b"\0\xff\xff\xff\xff\x0f", b"\x01\x02g"] {
                assert!(group(key, version, bad).is_err(), "{key} in version {version}: {bad:?}");
            }
        }
    }

    #[test]
    fn unneeded_kinds_of_requests_are_refused() {
        let of_kind = |key: i16| [&key.to_be_bytes()[..], &[0; 60]].concat();
        assert_eq!(check(&of_kind(3)), Ok(()));
        for key in [68, 72, 19, -1, i16::MAX] {
            assert!(check(&of_kind(key)).unwrap_err().contains("does not know"), "{key}");
        }
    }
}
