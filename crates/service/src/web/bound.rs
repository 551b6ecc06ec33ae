//! An HTTP service from binding its ports to its end.

use std::net::{SocketAddr, TcpListener};

use tokio::runtime::{EnterGuard, Runtime};

use super::runtime;
use crate::admin::{Admin, Pages};
use crate::settings::Host;
use crate::{Error, Readiness, listen};

/// Both ports of a service, bound before anything else of it exists: an address that is taken is known at once.
#[derive(Debug)]
pub struct Listeners {
    clients: TcpListener,
    address: SocketAddr,
    admin: TcpListener,
}

impl Listeners {
    /// Binds the port for clients and the admin port.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub fn bind(clients: (Host, u16), admin: (Host, u16)) -> Result<Self, Error> {
        let listener = listen::tcp(clients.0, clients.1).map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let admin = listen::admin(admin.0, admin.1).map_err(Error::Listen)?;
        Ok(Self { clients: listener, address, admin })
    }

    /// The port for clients, for options that accepted connections inherit.
    pub fn clients(&self) -> &TcpListener {
        &self.clients
    }

    /// Serves the admin port from now on, and prepares `workers` threads for the rest.
    ///
    /// # Errors
    /// [`Error::Admin`] and [`Error::Start`].
    pub fn start(self, readiness: Readiness, pages: Pages, workers: usize) -> Result<Bound, Error> {
        let Self { clients, address, admin } = self;
        let admin = Admin::start(admin, pages).map_err(Error::Admin)?;
        let runtime = runtime(workers).map_err(Error::Start)?;
        Ok(Bound { clients, address, admin, readiness, runtime })
    }
}

/// A service whose admin port is served. Its clients wait until [`Bound::run`] serves them.
pub struct Bound {
    clients: TcpListener,
    address: SocketAddr,
    admin: Admin,
    readiness: Readiness,
    runtime: Runtime,
}

impl Bound {
    /// The address for clients, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin port, with the real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The state that `/readyz` reports.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// For parts that need the runtime when they are made.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Does the work of the service, which serves the clients' port, and then closes the admin port. What `work` has
    /// spawned and not ended is left behind.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run<F: Future<Output = ()>>(
        self,
        work: impl FnOnce(tokio::net::TcpListener) -> F,
    ) -> Result<(), Error> {
        let Self { clients, admin, runtime, .. } = self;
        let clients = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(clients).map_err(Error::Start)?
        };
        runtime.block_on(work(clients));
        runtime.shutdown_background();
        drop(admin);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn both_ports_are_open_while_the_work_is_done() {
        let anywhere = (Host::LOOPBACK, 0);
        let listeners = Listeners::bind(anywhere, anywhere).unwrap();
        let readiness = Readiness::new();
        let pages = Pages::new(readiness.clone(), Registry::default());
        let bound = listeners.start(readiness, pages, 1).unwrap();
        let (address, admin) = (bound.address(), bound.admin_address());
        let mut connected = Vec::new();
        let work = async |clients: tokio::net::TcpListener| {
            assert_eq!(clients.local_addr().unwrap(), address);
            connected.extend([address, admin].map(TcpStream::connect));
        };
        bound.run(work).unwrap();
        assert!(connected.iter().all(Result::is_ok), "{connected:?}");
    }

    #[test]
    fn a_taken_admin_port_is_told_before_anything_is_served() {
        let taken = listen::admin(Host::LOOPBACK, 0).unwrap();
        let admin = (Host::LOOPBACK, taken.local_addr().unwrap().port());
        let error = Listeners::bind((Host::LOOPBACK, 0), admin).unwrap_err();
        assert!(matches!(error, Error::Listen(_)), "{error}");
    }
}
