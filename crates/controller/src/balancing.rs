//! A balancer's requests: which replicas take new connections, and which are removed first.

use platform::{
    EventKind, TargetError,
    target::{Balanced, Decided, Pick, Traffic},
};

use crate::{Controller, Reply, Time, instance::Instance, requests::Answer};

/// Limits on the lines and bytes of a reported decision.
const ORDERS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1024;

impl Controller {
    /// An inactive replica stays ready, leaves the endpoints and keeps its connections.
    pub(crate) fn set_traffic(&mut self, service: &str, replica: &str, traffic: Traffic) -> Answer {
        let one = self.marked(service, replica)?;
        if std::mem::replace(&mut one.traffic, traffic) != traffic {
            let (service, pod) = (service.to_owned(), one.name.to_string());
            self.event(EventKind::TrafficChanged { service, pod, traffic });
        }
        Ok(Reply::Marked)
    }

    pub(crate) fn set_deletion_cost(&mut self, service: &str, replica: &str, cost: i32) -> Answer {
        self.marked(service, replica)?.deletion_cost = Some(cost);
        Ok(Reply::Marked)
    }

    pub(crate) fn balanced(&mut self, service: &str, balanced: Balanced, now: Time) -> Answer {
        let kind = self.known_service(service)?;
        let Balanced { orders, reason } = balanced;
        let fits = |text: &String| text.len() <= TEXT_BYTES_MAX;
        if orders.len() > ORDERS_MAX || !orders.iter().chain([&reason]).all(fits) {
            let message = format!(
                "a decision of more than {ORDERS_MAX} orders, or with a text of more than {TEXT_BYTES_MAX} bytes"
            );
            return Err(TargetError::Invalid { message });
        }
        let decided = Decided { at: self.wall(now), orders: orders.clone(), reason: reason.clone() };
        if let Some(service) = self.services.get_mut(&kind) {
            service.announced.clone_from(&decided.orders);
            service.balanced = Some(decided);
        }
        self.event(EventKind::Balanced { service: kind.name().to_owned(), orders, reason });
        Ok(Reply::Marked)
    }

    /// A replica that has not been told to end.
    fn marked(&mut self, service: &str, replica: &str) -> Result<&mut Instance, TargetError> {
        let kind = self.known_service(service)?;
        let uid = self.pick(kind, &Pick::Named(replica.to_owned()), &[])?;
        match self.instances.get_mut(uid) {
            Some(one) if one.is_active() => Ok(one),
            _ => Err(TargetError::Other { message: format!("{replica} is draining anyway") }),
        }
    }
}
