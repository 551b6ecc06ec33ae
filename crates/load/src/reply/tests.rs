use proptest::prelude::*;

use super::*;

fn feed_all(matcher: &Matcher, pieces: &[&[u8]]) -> (Vec<Answer>, usize) {
    let mut progress = Progress::default();
    let (mut answers, mut notices) = (Vec::new(), 0);
    for piece in pieces {
        let seen = matcher.feed(&mut progress, piece, answers.is_empty());
        answers.extend(seen.answer);
        notices += usize::from(seen.notice);
    }
    (answers, notices)
}

fn echo(payload: &str) -> Matcher {
    Matcher::new(Expect::Echo, payload.as_bytes(), [].into_iter())
}

#[test]
fn our_protocol_and_a_plain_echo_are_both_echoes() {
    let matcher = echo("msg:12345:rest ");
    assert_eq!(feed_all(&matcher, &[b"12345"]), (vec![Answer::Right], 0));
    assert_eq!(feed_all(&matcher, &[b"msg:12345:rest "]), (vec![Answer::Right], 0));
    assert_eq!(feed_all(&matcher, &[b"12346"]), (vec![Answer::Wrong], 0));
    assert_eq!(feed_all(&echo("hello"), &[b"hello"]), (vec![Answer::Right], 0));
}

#[test]
fn a_reply_and_a_notice_in_one_packet_are_told_apart() {
    let matcher = echo("msg:12345");
    assert_eq!(feed_all(&matcher, &[b"12345reconnect"]), (vec![Answer::Right], 1));
    assert_eq!(feed_all(&matcher, &[b"reconnect12345"]), (vec![Answer::Right], 1));
    assert_eq!(feed_all(&matcher, &[b"12345\nreconnect\n"]), (vec![Answer::Right], 1));
    assert_eq!(feed_all(&matcher, &[b"recon", b"nect"]), (vec![], 1));
}

#[test]
fn a_late_greeting_is_not_an_answer() {
    assert_eq!(protocol::Dialect::Socketz.greeting(), Some(&[GREETING, b"\n"].concat()[..]));
    let greeting = [GREETING, b"\n"].concat();
    let both = [&greeting[..], b"12345\n"].concat();
    for expect in [Expect::Echo, Expect::Any] {
        let matcher = Matcher::new(expect, b"msg:12345", [].into_iter());
        for split in 0..both.len() {
            let (first, second) = both.split_at(split);
            assert_eq!(feed_all(&matcher, &[first, second]), (vec![Answer::Right], 0), "{split}");
        }
    }
    assert_eq!(feed_all(&echo("msg:12345"), &[b"use of it", b"12345"]).0[0], Answer::Wrong);
}

/// In every order, cut anywhere, and with the message sent at any point before its reply.
#[test]
fn a_reply_is_found_among_broadcasts_and_greetings_in_any_order() {
    let greeting = [GREETING, b"\n"].concat();
    for text in ["<one>", "cafe!", "<12345>", "x1"] {
        for expect in [Expect::Echo, Expect::None] {
            let matcher = Matcher::new(expect, b"msg:12345", [text].into_iter());
            let parts = [&greeting[..], text.as_bytes(), b"12345"];
            for order in [[0, 1, 2], [1, 0, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let stream = order.map(|part| parts[part]).concat();
                let reply_at: usize =
                    order.iter().take_while(|part| **part != 2).map(|part| parts[*part].len()).sum();
                for sent in 0..=reply_at {
                    for cut in sent..=stream.len() {
                        let mut progress = Progress::default();
                        let (mut answers, mut broadcasts) = (Vec::new(), Vec::new());
                        for (piece, after) in
                            [(&stream[..sent], false), (&stream[sent..cut], true), (&stream[cut..], true)]
                        {
                            let seen = matcher.feed(&mut progress, piece, after && answers.is_empty());
                            answers.extend(seen.answer);
                            broadcasts.extend(seen.broadcasts);
                        }
                        let wanted = if expect == Expect::Echo { vec![Answer::Right] } else { Vec::new() };
                        assert_eq!((answers, broadcasts), (wanted, vec![0]), "{text} {order:?} {sent} {cut}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_reply_that_looks_like_a_notice_is_a_reply() {
    let matcher = echo("msg:reconnect");
    assert_eq!(feed_all(&matcher, &[b"reconnect"]), (vec![Answer::Right], 0));
    assert_eq!(feed_all(&matcher, &[b"reconnectreconnect"]), (vec![Answer::Right], 1));
    let matcher = echo("msg:reX");
    assert_eq!(feed_all(&matcher, &[b"reX"]), (vec![Answer::Right], 0));
    assert_eq!(feed_all(&matcher, &[b"reconnectreX"]), (vec![Answer::Right], 1));
    assert_eq!(feed_all(&matcher, &[b"reconfigure"]), (vec![Answer::Wrong], 0));
}

#[test]
fn a_notice_behind_a_broadcast_is_seen() {
    let matcher = echo("msg:12345");
    let mut progress = Progress::default();
    assert_eq!(
        matcher.feed(&mut progress, b"all of you: rereconnect", false),
        Seen { notice: true, ..Seen::default() }
    );
}

#[test]
fn any_bytes_answer_any_but_a_notice_does_not() {
    let matcher = Matcher::new(Expect::Any, b"GET / HTTP/1.1\r\n\r\n", [].into_iter());
    assert_eq!(feed_all(&matcher, &[b"HTTP/1.1 200 OK"]), (vec![Answer::Right], 0));
    assert_eq!(feed_all(&matcher, &[b"reconnect"]), (vec![], 1));
    assert_eq!(feed_all(&matcher, &[b"r"]), (vec![Answer::Right], 0));
    assert_eq!(feed_all(&matcher, &[b"okreconnect"]), (vec![Answer::Right], 1));
}

#[test]
fn without_an_expected_answer_no_bytes_count_as_one() {
    let matcher = Matcher::new(Expect::None, b"x", [].into_iter());
    assert_eq!(feed_all(&matcher, &[b"x", b"reconnect"]), (vec![], 1));
}

#[test]
fn broadcasts_are_found_around_replies() {
    let matcher = Matcher::new(Expect::Echo, b"msg:12345", ["<one>", "<two>"].into_iter());
    let mut progress = Progress::default();
    let seen = matcher.feed(&mut progress, b"<one>12345<two>", true);
    assert_eq!((seen.answer, seen.broadcasts, seen.refused), (Some(Answer::Right), vec![0, 1], false));
    let seen = matcher.feed(&mut progress, b"error: broadcast unavailable12345reconnect", true);
    assert_eq!((seen.answer, seen.refused, seen.notice), (Some(Answer::Right), true, true));
    assert_eq!(matcher.feed(&mut progress, b"<on", true), Seen::default());
    assert_eq!(matcher.feed(&mut progress, b"e>", true).broadcasts, [0]);
    let mut others = Vec::new();
    let seen = matcher.sift(&mut progress, b"7f<two>a9reconnect\n", &mut others);
    assert_eq!((seen.broadcasts, seen.notice, others.as_slice()), (vec![1], true, &b"7fa9\n"[..]));
}

/// Cuts `stream` at `cuts`.
fn pieces<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.dedup();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    /// However the network cuts a reply and a notice, in either order, both are found and nothing else.
    #[test]
    fn replies_and_notices_are_found_however_the_stream_is_cut(
        content in "[a-z0-9]{1,24}",
        notice_first: bool,
        line_mode: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        // A reply that starts like the notice is only distinguishable once it ends; one that is part of it, never.
        prop_assume!(!content.starts_with('r'));
        let matcher = echo(&format!("msg:{content}"));
        let end: &[u8] = if line_mode { b"\n" } else { b"" };
        let reply = [content.as_bytes(), end].concat();
        let notice = [NOTICE, end].concat();
        let stream = if notice_first { [notice, reply].concat() } else { [reply, notice].concat() };
        prop_assert_eq!(feed_all(&matcher, &pieces(&stream, &cuts)), (vec![Answer::Right], 1));
    }

    /// Any bytes at all, cut anywhere, give the same verdict as in one piece, for one awaited answer.
    #[test]
    fn garbage_is_judged_the_same_however_it_is_cut(
        stream in prop::collection::vec(prop::sample::select(b"reconnect12345\n:msg".to_vec()), 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let matcher = echo("msg:12345");
        let whole = feed_all(&matcher, &[&stream]);
        let cut = feed_all(&matcher, &pieces(&stream, &cuts));
        prop_assert_eq!(&whole.0, &cut.0);
        // One piece reports at most one notice, however often it contains it.
        prop_assert_eq!(whole.1 > 0, cut.1 > 0);
    }
}

#[test]
fn an_answer_of_other_protocols_is_known_by_its_beginning() {
    let matcher = || Matcher::new(Expect::Echo, b"PING\r\n", [].into_iter()).answered_by(Some(b"+PONG"));
    for (pieces, expected) in [
        (&[&b"+PONG\r\n"[..]][..], Some(Answer::Right)),
        (&[b"+PO", b"NG\r\n"], Some(Answer::Right)),
        (&[b"\r\n", b"+PONG"], Some(Answer::Right)),
        (&[b"-ERR"], Some(Answer::Wrong)),
        (&[b"PING\r\n"], Some(Answer::Wrong)),
        (&[b"+PON"], None),
    ] {
        let mut progress = Progress::default();
        let answers: Vec<_> =
            pieces.iter().filter_map(|piece| matcher().feed(&mut progress, piece, true).answer).collect();
        assert_eq!(answers.first().copied(), expected, "{pieces:?}");
    }
    // A message has an end.
    for (pieces, expected) in [
        (&[&b"+PONG 1"[..]][..], Answer::Right),
        (&[b"+P", b"ONG and", b" more"], Answer::Right),
        (&[b"+PO"], Answer::Wrong),
        (&[b"+PO", b"PE"], Answer::Wrong),
        (&[b"pong"], Answer::Wrong),
    ] {
        let mut progress = Progress::default();
        let last = pieces.len() - 1;
        let answers: Vec<_> = pieces
            .iter()
            .enumerate()
            .filter_map(|(at, piece)| matcher().feed_message(&mut progress, piece, at == last))
            .collect();
        assert_eq!(answers, [expected], "{pieces:?}");
    }
}
