//! Datagrams that the kernel received for a socket and threw away, above all because its receive queue was full.

use std::io;
use std::net::UdpSocket;

/// The kernel's tables, and how a line of them is read: whitespace-separated fields.
const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];
const FIELD_INODE: usize = 9;
const FIELD_DROPS: usize = 12;

/// A look at the drops of some sockets. It costs a pass over all UDP sockets of the network namespace, so it is for
/// scrapes and not for event loops.
#[derive(Debug, Clone)]
pub struct KernelDrops {
    inodes: Vec<u64>,
}

impl KernelDrops {
    /// # Errors
    /// What the kernel says.
    pub fn of<'a>(sockets: impl IntoIterator<Item = &'a UdpSocket>) -> io::Result<Self> {
        let inode = |socket| Ok(rustix::fs::fstat(socket)?.st_ino);
        Ok(Self { inodes: sockets.into_iter().map(inode).collect::<io::Result<_>>()? })
    }

    /// How many there were since the sockets were made. A closed socket takes its count with it.
    pub fn count(&self) -> u64 {
        // A table that cannot be read belongs to a family that the kernel lacks.
        let tables = TABLES.iter().filter_map(|table| std::fs::read_to_string(table).ok());
        tables.map(|table| sum(&table, &self.inodes)).sum()
    }
}

fn sum(table: &str, inodes: &[u64]) -> u64 {
    let drops = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(FIELD_INODE);
        let inode: u64 = fields.next()?.parse().ok()?;
        let drops: u64 = fields.nth(FIELD_DROPS - FIELD_INODE - 1)?.parse().ok()?;
        inodes.contains(&inode).then_some(drops)
    };
    table.lines().filter_map(drops).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_by_inode() {
        let table = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  213: 0100007F:C350 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 17
  214: 0100007F:C351 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 5
";
        assert_eq!(sum(table, &[4711]), 17);
        assert_eq!(sum(table, &[4711, 4712]), 22);
        assert_eq!(sum(table, &[1]), 0);
    }

    #[test]
    fn a_full_receive_queue_is_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (quiet, sender) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket2::SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
        let drops = KernelDrops::of([&socket]).unwrap();
        assert_eq!(drops.count(), 0);
        for _ in 0..100 {
            sender.send_to(&[0; 1024], socket.local_addr().unwrap()).unwrap();
        }
        assert!((50..100).contains(&drops.count()), "{}", drops.count());
        assert_eq!(KernelDrops::of([&quiet]).unwrap().count(), 0);
    }
}
