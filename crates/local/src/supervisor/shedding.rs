//! Where a replica accepts orders to shed.

use std::net::SocketAddr;

use ::platform::{ServiceKind, TargetError, target::Snapshot};

/// The admin port of a replica.
pub(crate) fn address(snapshot: &Snapshot, service: &str, replica: &str) -> Result<SocketAddr, TargetError> {
    let services = &snapshot.services;
    let of = services.iter().find(|one| one.name == service).ok_or_else(|| TargetError::UnknownService {
        service: service.to_owned(),
        known: services.iter().map(|one| one.name.clone()).collect(),
    })?;
    if !ServiceKind::by_name(service).is_some_and(|kind| kind.row().sheds) {
        let what = format!("shedding connections of {service}");
        let able = ServiceKind::ALL.into_iter().filter(|kind| kind.row().sheds).map(ServiceKind::name);
        let able = able.collect::<Vec<_>>().join(", ");
        let why = format!("its replicas cannot shed connections; replicas of these can: {able}");
        return Err(TargetError::Unsupported { what, why });
    }
    let one = of.replicas.iter().find(|one| one.name == replica);
    let one = one.ok_or_else(|| TargetError::UnknownReplica {
        service: service.to_owned(),
        replica: replica.to_owned(),
        known: of.replicas.iter().map(|one| one.name.clone()).collect(),
    })?;
    match (one.pid, one.socket(), one.admin_port) {
        (Some(_), Some(clients), Some(port)) => Ok(SocketAddr::new(clients.ip(), port)),
        _ => Err(TargetError::Temporary { message: format!("{replica} is not running") }),
    }
}
