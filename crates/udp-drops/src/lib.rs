//! Counts the datagrams that the kernel received for a socket of ours and threw away, above all because the socket's
//! receive queue was full (`/proc/net/udp`, proc(5)).

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::AsFd,
};

use rustix::fs::fstat;

const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];
/// Words of a line: `sl local rem st queues timer retransmits uid timeout inode references pointer drops`.
const INODE: usize = 9;
const DROPS: usize = 12;

/// The sockets whose drops are counted.
#[derive(Debug, Clone)]
pub struct KernelDrops {
    inodes: HashSet<u64>,
}

impl KernelDrops {
    /// # Errors
    /// What the kernel says.
    pub fn of<S: AsFd>(sockets: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let inode = |socket: S| Ok(fstat(socket)?.st_ino);
        Ok(Self { inodes: sockets.into_iter().map(inode).collect::<io::Result<_>>()? })
    }

    /// How many there were at all sockets together since each was made; a closed socket takes its count with it. This
    /// costs a pass over all UDP sockets of the network namespace, so it is for scrapes and not for event loops.
    ///
    /// # Errors
    /// A table cannot be read, or there is none.
    pub fn count(&self) -> io::Result<u64> {
        let (mut drops, mut tables) = (0, 0);
        for table in TABLES {
            match File::open(table) {
                Ok(file) => drops += sum(BufReader::new(file), &self.inodes)?,
                // One of the two is missing where a protocol is off.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            tables += 1;
        }
        if tables == 0 { Err(io::ErrorKind::NotFound.into()) } else { Ok(drops) }
    }
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
    use std::net::UdpSocket;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn only_packets_dropped_for_lack_of_room_are_counted() {
        const SENT: u64 = 1000;
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (receiver, quiet, sender) = (bind(), bind(), bind());
        SockRef::from(&receiver).set_recv_buffer_size(4096).unwrap();
        let drops = KernelDrops::of([&receiver]).unwrap();
        assert_eq!(drops.count().unwrap(), 0);
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        for _ in 0..SENT {
            sender.send(&[0; 100]).unwrap();
        }
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 100];
        let received = std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).count() as u64;
        assert!(received < SENT);
        assert_eq!(drops.count().unwrap(), SENT - received);
        assert_eq!(KernelDrops::of([&quiet]).unwrap().count().unwrap(), 0);
    }

    #[test]
    fn the_table_is_read_by_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1119: 0100007F:C4A3 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4711 2 0000000000000000 17
 2200: 0100007F:C4A4 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4712 2 0000000000000000 5
 2201: rubbish\n";
        assert_eq!(sum(table.as_bytes(), &HashSet::from([4711])).unwrap(), 17);
        assert_eq!(sum(table.as_bytes(), &HashSet::from([4711, 4712])).unwrap(), 22);
        assert_eq!(sum(table.as_bytes(), &HashSet::from([1])).unwrap(), 0);
    }
}
