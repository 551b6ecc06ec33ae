//! What the kernel dropped at our own sockets because their buffers were full (`/proc/net/udp`, proc(5)).

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::fstat;

const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];
/// Words of a line: `sl local rem st queues timer retransmits uid timeout inode references pointer drops`.
const INODE: usize = 9;
const DROPS: usize = 12;

/// The sum over `sockets`. An error if there is no table.
pub(super) fn count<'a>(sockets: impl Iterator<Item = &'a OwnedFd>) -> io::Result<u64> {
    let inodes: HashSet<u64> =
        sockets.filter_map(|socket| Some(fstat(socket.as_fd()).ok()?.st_ino)).collect();
    let mut drops = 0;
    let mut tables = 0;
    for table in TABLES {
        match File::open(table) {
            Ok(file) => drops += sum(BufReader::new(file), &inodes)?,
            // One of the two is missing where a protocol is off.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        tables += 1;
    }
    if tables == 0 { Err(io::ErrorKind::NotFound.into()) } else { Ok(drops) }
}

fn sum(table: impl BufRead, inodes: &HashSet<u64>) -> io::Result<u64> {
    let mut drops = 0;
    for line in table.lines() {
        let line = line?;
        let mut words = line.split_ascii_whitespace();
        // The heading has no number there.
        let inode = words.nth(INODE).and_then(|word| word.parse().ok());
        let dropped = words.nth(DROPS - INODE - 1).and_then(|word| word.parse::<u64>().ok());
        if let (Some(inode), Some(dropped)) = (inode, dropped)
            && inodes.contains(&inode)
        {
            drops += dropped;
        }
    }
    Ok(drops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_found_no_room() {
        const SENT: u64 = 1000;
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        for _ in 0..SENT {
            sender.send(&[0; 100]).unwrap();
        }
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 100];
        let received = std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).count() as u64;
        let socket = OwnedFd::from(receiver);
        assert_eq!(count([&socket].into_iter()).unwrap(), SENT - received);
        assert!(received < SENT);
    }

    #[test]
    fn only_our_sockets_count() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1119: 0100007F:C4A3 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4711 2 0000000000000000 17
 2200: 0100007F:C4A4 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4712 2 0000000000000000 5
 2201: rubbish\n";
        assert_eq!(sum(table.as_bytes(), &HashSet::from([4711])).unwrap(), 17);
        assert_eq!(sum(table.as_bytes(), &HashSet::from([4711, 4712])).unwrap(), 22);
        assert_eq!(sum(table.as_bytes(), &HashSet::from([1])).unwrap(), 0);
    }
}
