//! Several packets to one peer as one message (`UDP_SEGMENT`, generic segmentation offload).
//!
//! The kernel takes the packets through its layers once and splits them at the end, or not at all if the receiver
//! accepts them whole. They must have the same length, except that the last may be shorter.

use std::io::IoSlice;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Maximum number of packets per message that every kernel with segmentation accepts.
const SEGMENTS_MAX: usize = 64;

/// Longer packets may have to be fragmented, which segments may not be.
const SEGMENT_BYTES_MAX: usize = 1_400;

/// How many of the first packets fit into one message, given their `lengths`; 1 if only the first does.
pub(super) fn run(mut lengths: impl Iterator<Item = usize>) -> usize {
    let Some(segment @ 1..=SEGMENT_BYTES_MAX) = lengths.next() else {
        return 1;
    };
    let mut count = 1;
    for length in lengths.take(SEGMENTS_MAX - 1) {
        if length == 0 || length > segment {
            break;
        }
        count += 1;
        if length < segment {
            break;
        }
    }
    count
}

/// Sends `packets`, which are a [`run`], as one message on a connected socket.
pub(super) fn send(socket: RawFd, packets: &[IoSlice<'_>], segment: usize) -> Result<(), Errno> {
    let segment = segment as u16;
    let control = [ControlMessage::UdpGsoSegments(&segment)];
    sendmsg::<()>(socket, packets, &control, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// True if the kernel refused the message because it is segmented, so that its packets must be sent one by one.
pub(super) fn is_refused(error: Errno) -> bool {
    matches!(error, Errno::EIO | Errno::EINVAL | Errno::EMSGSIZE | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT)
}

/// True if this machine cannot segment any message: its network device cannot compute checksums.
pub(super) fn is_impossible(error: Errno) -> bool {
    matches!(error, Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lengths: &[usize]) -> usize {
        run(lengths.iter().copied())
    }

    #[test]
    fn equal_packets_and_a_last_shorter_one_go_together() {
        assert_eq!(of(&[100]), 1);
        assert_eq!(of(&[100, 100, 100]), 3);
        assert_eq!(of(&[100, 100, 40, 100]), 3);
        assert_eq!(of(&[100, 101]), 1);
        assert_eq!(of(&[40, 100]), 1);
    }

    #[test]
    fn empty_and_long_packets_are_sent_alone() {
        assert_eq!(of(&[0, 0]), 1);
        assert_eq!(of(&[10, 10, 0]), 2);
        assert_eq!(of(&[1_401, 1_401]), 1);
        assert_eq!(of(&[1_400; 100]), SEGMENTS_MAX);
    }

    proptest! {
        #[test]
        fn a_run_can_be_cut_apart_again(lengths in proptest::collection::vec(0_usize..5, 1..80)) {
            let count = of(&lengths);
            prop_assert!((1..=lengths.len()).contains(&count));
            if count > 1 {
                let (last, equal) = lengths[..count].split_last().unwrap();
                prop_assert!(equal.iter().all(|length| *length == lengths[0]));
                prop_assert!((1..=lengths[0]).contains(last));
            }
        }
    }
}
