//! The life of real servers: started before what leans on them, started again when they die.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use ::platform::{
    EventKind,
    target::{PartOrigin, PartSnapshot},
    values::Protocol,
};

use super::{Platform, World, requests::restarts_in_words};
use crate::{
    kernel::port,
    programs::Program,
    supervisor::{
        Message, ProcessKey,
        servers::{self, Server, Spec},
    },
};

/// From SIGTERM to SIGKILL: Kafka and Elasticsearch write down what they have.
const GRACE: Duration = Duration::from_secs(10);

impl World {
    /// Whether nobody has to wait for a server: all that there should be are there, and were ready once or given up.
    pub(super) fn servers_came_up(&self) -> bool {
        self.parts.servers().all(|spec| {
            self.servers.iter().any(|server| server.told.is_none() && server.spec == *spec && !server.awaited)
        })
    }

    /// A change has failed: what can run without the servers that it wanted does.
    pub(super) fn await_no_servers(&mut self) {
        for server in &mut self.servers {
            server.awaited = false;
        }
    }

    /// The names of those that somebody may be waiting for.
    pub(super) fn servers_awaited(&self) -> impl Iterator<Item = &'static str> {
        self.servers.iter().filter(|server| !server.ready && server.told.is_none()).map(|one| one.spec.name())
    }

    pub(super) fn server_snapshots(&self) -> impl Iterator<Item = PartSnapshot> {
        self.servers.iter().map(|server| {
            let spec = &server.spec;
            let place = spec.found.place(spec.program).display();
            let detail = format!("{place}{}", restarts_in_words(server.restarts));
            PartSnapshot {
                name: spec.name().to_owned(),
                origin: PartOrigin::Found,
                version: Some(spec.found.version.clone()),
                address: Some(spec.url()),
                detail,
                healthy: server.ready,
                pid: server.running.as_ref().map(|running| running.process.pid()),
            }
        })
    }
}

impl Platform {
    /// Starts the servers that there should be, and ends those that there should not be.
    pub(super) fn settle_servers(&mut self) {
        let Some(world) = &mut self.world else { return };
        world.servers.retain(|server| server.told.is_none() || server.running.is_some());
        let wanted: Vec<Spec> = world.parts.servers().cloned().collect();
        for server in &mut world.servers {
            if server.told.is_none() && !wanted.contains(&server.spec) {
                server.told = Some(Instant::now());
                if let Some(running) = &server.running {
                    running.process.terminate();
                    self.starter.later(GRACE, Message::GraceOver { key: running.key });
                }
            }
        }
        // An old one of the same program has its address and its files until it is gone.
        let is_there = |spec: &Spec| world.servers.iter().any(|server| server.spec.program == spec.program);
        let missing: Vec<Spec> = wanted.into_iter().filter(|spec| !is_there(spec)).collect();
        let programs: Vec<Program> = missing.iter().map(|spec| spec.program).collect();
        world.servers.extend(missing.into_iter().map(Server::new));
        for program in programs {
            self.start_server(program);
        }
    }

    fn start_server(&mut self, program: Program) {
        let folder = self.server_folder(program);
        let run = self.recorder.run();
        let Some(server) = self.working_server(program) else { return };
        let spec = server.spec.clone();
        let messages = self.starter.messages();
        let watch = |key| servers::watch(key, spec.clone(), messages);
        let started = port::check_free(spec.addresses().map(|address| (Protocol::Tcp, address)))
            .map_err(io::Error::other)
            .and_then(|()| spec.prepare(&folder, run))
            .and_then(|launch| self.starter.wrapped(spec.name(), spec.name(), launch, None, watch));
        let Some(server) = self.working_server(program) else { return };
        match started {
            Ok(running) => server.running = Some(running),
            Err(error) => self.server_failed(program, &error.to_string(), Duration::ZERO),
        }
    }

    /// Whether the process is a server.
    pub(super) fn server_ready(&mut self, key: ProcessKey) -> bool {
        let Some(server) = self.server(key) else { return false };
        (server.ready, server.awaited) = (true, false);
        let part = server.spec.name().to_owned();
        let detail = format!("found, {}", server.spec.in_words());
        let after = server.running.as_ref().map(|running| running.started.elapsed()).unwrap_or_default();
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.recorder.emit(EventKind::PartReady { part, detail, after_ms });
        true
    }

    /// Whether the process is a server.
    pub(super) fn server_unready(&mut self, key: ProcessKey, reason: &str) -> bool {
        let Some(server) = self.server(key) else { return false };
        server.ready = false;
        let message = format!("{} does not answer any more: {reason}", server.spec.name());
        self.recorder.emit(EventKind::Warning { message });
        true
    }

    /// Whether the process was a server.
    pub(super) fn server_ended(&mut self, key: ProcessKey, how: &str) -> bool {
        let stopping = self.stopping.is_some();
        let Some(server) = self.server(key) else { return false };
        let ran = server.running.take().map_or(Duration::ZERO, |running| running.started.elapsed());
        server.ready = false;
        if server.told.is_none() && !stopping {
            let program = server.spec.program;
            self.server_failed(program, how, ran);
        }
        true
    }

    /// Whether the process is a server.
    pub(super) fn server_grace_over(&mut self, key: ProcessKey) -> bool {
        let Some(server) = self.server(key) else { return false };
        if let Some(running) = &server.running {
            running.process.kill();
        }
        true
    }

    /// It died, or did not even start. Whoever waits for it is told; otherwise it is started again after a while.
    fn server_failed(&mut self, program: Program, how: &str, ran: Duration) {
        let Some(server) = self.working_server(program) else { return };
        let (awaited, name) = (server.awaited, server.spec.name());
        let delay = server.backoff.next(ran);
        server.restarts += 1;
        self.starter.later(delay, Message::RestartServer { program });
        if !awaited || self.pending.is_empty() {
            let message = format!("{name}: {how}; started again in {} s", delay.as_secs());
            self.recorder.emit(EventKind::Warning { message });
        } else {
            self.change_failed(&self.not_up(name, how, ran));
        }
    }

    pub(super) fn restart_server(&mut self, program: Program) {
        let waits = self.working_server(program).is_some_and(|server| server.running.is_none());
        if waits && self.stopping.is_none() {
            self.start_server(program);
        }
    }

    /// At the end, when nothing leans on them any more.
    pub(super) fn terminate_servers(&self) {
        for running in
            self.world.iter().flat_map(|world| &world.servers).filter_map(|one| one.running.as_ref())
        {
            running.process.terminate();
            self.starter.later(GRACE, Message::GraceOver { key: running.key });
        }
    }

    fn server_folder(&self, program: Program) -> PathBuf {
        self.own.parts_directory().join(program.name())
    }

    /// The one that was not told to end.
    fn working_server(&mut self, program: Program) -> Option<&mut Server> {
        let mut all = self.world.as_mut()?.servers.iter_mut();
        all.find(|server| server.spec.program == program && server.told.is_none())
    }

    fn server(&mut self, key: ProcessKey) -> Option<&mut Server> {
        let mut all = self.world.as_mut()?.servers.iter_mut();
        all.find(|server| server.running.as_ref().is_some_and(|running| running.key == key))
    }
}
