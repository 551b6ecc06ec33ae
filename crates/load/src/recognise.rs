//! Recognises what is listening on a port whose answers are not the expected ones.

use scenario::escape;

/// The start of a wrong answer, escaped, and what it reveals about the port.
pub(crate) fn shown(answer: &[u8]) -> String {
    let words = match answer {
        // A record of an alert or of a handshake, and the major version.
        [0x15 | 0x16, 0x03, ..] => ": this port speaks TLS",
        [b'H', b'T', b'T', b'P', b'/', ..] => ": this port speaks HTTP",
        [b'S', b'S', b'H', b'-', ..] => ": this port speaks SSH",
        // The preface of HTTP/2 servers: a SETTINGS frame of stream 0.
        [0, 0, _, 4, 0, 0, 0, 0, 0, ..] => ": this port speaks HTTP/2",
        [b'2', b'2', b'0', b' ' | b'-', ..] => ": this port greets like SMTP or FTP",
        _ => "",
    };
    format!("`{}`{words}", escape(answer))
}

/// The first line of a refusal's body, escaped, if it is text for people: a page in HTML says nothing in one line.
#[cfg(feature = "engine")]
pub(crate) fn reason(body: &[u8]) -> Option<String> {
    const SHOWN: usize = 120;
    let line = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty())?;
    (!line.starts_with(b"<")).then(|| escape(&line[..line.len().min(SHOWN)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "engine")]
    #[test]
    fn the_reason_of_a_refusal_is_its_first_line_of_text() {
        for (body, expected) in [
            (&b""[..], None),
            (b"\r\n \r\n", None),
            (b"<html>\nno", None),
            (b"\nno such chat\nbye", Some("no such chat")),
            (b"a\x1b[2J", Some("a\\x1b[2J")),
        ] {
            assert_eq!(reason(body).as_deref(), expected);
        }
        assert_eq!(reason(&[b'a'; 500]).map(|text| text.len()), Some(120));
    }

    #[test]
    fn well_known_answers_are_recognised_and_escaped() {
        for (answer, expected) in [
            (&b"\x15\x03\x01\x00\x02\x02\x46"[..], r"`\x15\x03\x01\0\x02\x02F`: this port speaks TLS"),
            (b"HTTP/1.1 400 Bad Request\r\n", r"`HTTP/1.1 400 Bad Request\r\n`: this port speaks HTTP"),
            (b"SSH-2.0-x", "`SSH-2.0-x`: this port speaks SSH"),
            (b"220 mail", "`220 mail`: this port greets like SMTP or FTP"),
            (b"\x1b[2J", r"`\x1b[2J`"),
        ] {
            assert_eq!(shown(answer), expected);
        }
    }
}
