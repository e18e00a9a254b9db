//! Ports of datagrams: each datagram is a request without an answer. What arrives faster than it is stored waits in the
//! operating system's buffer, and what does not fit there is counted as lost.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_recv_buffer_size, socket_recv_buffer_size};
use spandrel_collector::Agent;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A port that is bound but not yet served.
pub(crate) struct DatagramPort {
    socket: UdpSocket,
    address: SocketAddr,
}

/// The longest datagram that UDP can carry.
const LONGEST: usize = 65_535;
/// Datagrams that are being stored at once; together they take as much memory as one large request.
const UNDER_WAY: usize = 1_024;
/// Datagrams that are read after the server was told to stop: senders may go on.
const MOST_LEFT: usize = 65_536;
/// The interval at which it is looked what the operating system has dropped.
const LOOK_EVERY: Duration = Duration::from_secs(1);

// === impl DatagramPort ===

impl DatagramPort {
    /// Binds a port.
    pub(crate) async fn bind(
        flag: &'static str,
        address: SocketAddr,
        buffer_bytes: usize,
    ) -> Result<Self, String> {
        let bound = async {
            let socket = UdpSocket::bind(address).await?;
            grow_buffer(&socket, flag, buffer_bytes);
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bound.await.map_err(|error: io::Error| {
            format!("cannot listen on --{flag} {address}: {error}; give it another address, or port 0 for any free one")
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes datagrams until `stop` turns true, and then waits for those that are being stored.
    pub(crate) async fn serve(self, agent: Agent, mut stop: watch::Receiver<bool>) {
        let agent = Arc::new(agent);
        let slots = Arc::new(Semaphore::new(UNDER_WAY));
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut buffer = vec![0; LONGEST];
        loop {
            let received = tokio::select! {
                received = self.receive(&slots, &mut buffer) => received,
                _ = look.tick() => {
                    if let Some(dropped) = self.dropped() {
                        agent.dropped(dropped);
                    }
                    continue;
                }
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match received {
                Ok((slot, datagram)) => {
                    let agent = agent.clone();
                    tokio::spawn(async move {
                        agent.take(datagram.into()).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "receiving a datagram failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        // What the operating system had taken when the server was told to stop was sent before.
        for _ in 0..MOST_LEFT {
            let Ok(length) = self.socket.try_recv(&mut buffer) else { break };
            let Ok(slot) = slots.clone().acquire_owned().await else { break };
            let (agent, datagram) = (agent.clone(), buffer[..length].to_vec());
            tokio::spawn(async move {
                agent.take(datagram.into()).await;
                drop(slot);
            });
        }
        if let Some(dropped) = self.dropped() {
            agent.dropped(dropped);
        }
        // All slots are free once everything is stored.
        let _ = slots.acquire_many(UNDER_WAY as u32).await;
    }

    async fn receive(
        &self,
        slots: &Arc<Semaphore>,
        buffer: &mut [u8],
    ) -> io::Result<(OwnedSemaphorePermit, Vec<u8>)> {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let length = self.socket.recv(buffer).await?;
        Ok((slot, buffer[..length].to_vec()))
    }

    /// What the operating system has dropped, where it says so (Linux).
    fn dropped(&self) -> Option<u64> {
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", self.socket.as_raw_fd())).ok()?.ino();
        let table = if self.address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
        dropped_of(&std::fs::read_to_string(table).ok()?, inode)
    }
}

/// Asks for a buffer that holds a burst. Linux gives at most `net.core.rmem_max`, and reports twice what it gives.
fn grow_buffer(socket: &UdpSocket, flag: &str, bytes: usize) {
    let given = set_socket_recv_buffer_size(socket, bytes).and_then(|()| socket_recv_buffer_size(socket));
    match given {
        Ok(given) if given >= bytes => {}
        Ok(given) => tracing::info!(
            flag,
            wanted = bytes,
            given,
            "the operating system gives datagrams a smaller buffer; net.core.rmem_max bounds it"
        ),
        Err(error) => tracing::warn!(flag, %error, "the buffer of datagrams keeps its size"),
    }
}

/// The last column of the row of a socket.
fn dropped_of(table: &str, inode: u64) -> Option<u64> {
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let is_it = |row: &Vec<&str>| row.get(9).is_some_and(|column| column.parse() == Ok(inode));
    rows.into_iter().find(is_it)?.last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_the_socket_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            12: 0100007F:1AAF 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 411 2 0000000000000000 0\n\
            13: 0100007F:1AB0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 412 2 0000000000000000 17\n";
        assert_eq!(
            (dropped_of(table, 412), dropped_of(table, 411), dropped_of(table, 4)),
            (Some(17), Some(0), None)
        );
    }
}
