//! The main loop: observes, lets a policy decide, and carries out its orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use balance::{Decision, Excess, Fleet, Order, Pace, Portion, Reason, Utilization};
use platform::TargetError;
use platform::target::{Balanced, ServiceSnapshot};
use service::Readiness;
use service::sessions::listed::Noticed;
use tracing::{info, warn};

use crate::actor::{Actor, Seen, words};
use crate::ended::{Ended, Lives};
use crate::foresight::{Foresight, ScaleDown};
use crate::metrics::Metrics;
use crate::sessions::{Listed, Store};
use crate::{Platform, Policy, Settings, fleet};

/// The parts that `/readyz` reports as degraded.
const REDIS: &str = "redis";
const PLATFORM: &str = "platform";
/// Platforms count connections.
const NOTHING_TO_SEE: &str = "a platform counts connections, and there is none: PLAYCTL_PLATFORM or \
                              BALANCER_KUBECONFIG names one; SESSIONS_FROM=redis takes sessions that servers list in Redis";

/// State shared by the loop and requests.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    /// `None`: nothing is carried out.
    pub(crate) actor: Option<Actor>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
    /// Numbers orders to shed.
    orders: AtomicU64,
    /// Sessions that requests asked to move, which the policies do not know about yet.
    moved_by_hand: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        platform: Platform,
        (metrics, noticed): (Arc<Metrics>, [Noticed; 2]),
        readiness: Readiness,
    ) -> Self {
        let actor = match platform {
            Platform::Target(target, turn) => Some(Actor::new(target, turn, settings.service.clone())),
            Platform::None { why } => {
                warn!(%why, "there is no platform to act on: decisions are reported but not carried out");
                None
            }
        };
        let store = Store::new(settings.redis.clone(), noticed);
        let (orders, moved_by_hand) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { settings, store, actor, metrics, readiness, orders, moved_by_hand }
    }

    /// Asks one session of a server to move, on request.
    pub(crate) async fn shed_one(&self, actor: &Actor, server: &str) -> Result<u64, String> {
        let shed = self.shed(actor, server, 1).await?;
        self.moved_by_hand.fetch_add(shed, Ordering::Relaxed);
        Ok(shed)
    }

    async fn shed(&self, actor: &Actor, server: &str, count: u64) -> Result<u64, String> {
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        let shed = actor.shed(server, number, count).await.map_err(|error| self.platform_failed(&error))?;
        self.metrics.moved.inc_by(shed);
        Ok(shed)
    }

    fn platform_failed(&self, error: &TargetError) -> String {
        let reason = match (error, &self.settings.local_platform) {
            (TargetError::NotRunning { .. }, Some(name)) => format!(
                "PLAYCTL_PLATFORM={name}: no platform of this name runs here; start it with: playctl --platform {name} up"
            ),
            _ => error.to_string(),
        };
        self.platform_degraded(&reason);
        reason
    }

    fn platform_degraded(&self, reason: &str) {
        self.metrics.platform_failures.inc();
        if self.readiness.degrade(PLATFORM, reason) {
            warn!(error = %reason, "cannot observe the service; retrying");
        }
    }

    /// All sessions, if servers list them in Redis.
    async fn listed(&self) -> Result<Option<Listed>, ()> {
        if !self.settings.sessions_in_redis {
            return Ok(None);
        }
        match self.store.listed().await {
            Ok(listed) => {
                if self.readiness.restore(REDIS) {
                    info!(redis = %self.settings.redis, "reading sessions again");
                }
                Ok(Some(listed))
            }
            Err(reason) => {
                self.redis_failed(&reason);
                Err(())
            }
        }
    }

    fn redis_failed(&self, reason: &str) {
        self.metrics.redis_failures.inc();
        if self.readiness.degrade(REDIS, reason) {
            warn!(error = %reason, "cannot read sessions, so nothing is decided until Redis answers");
        }
    }
}

/// The policies and their state.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    utilization: Utilization,
    excess: Excess,
    foresight: Foresight,
    lives: Lives,
    pace: Pace,
    began: Instant,
    /// The last reported reasons, so that "nothing to do" is not repeated.
    told: Vec<Reason>,
    /// Whether there was no server at the last look; `None`: it has not looked yet.
    saw_nothing: Option<bool>,
    /// Whether it had the turn at the last look; `None`: it has not looked yet.
    acts: Option<bool>,
}

impl Engine {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let (rules, excess) = (shared.settings.rules, shared.settings.excess);
        Self {
            shared,
            utilization: Utilization::new(rules),
            excess: Excess::new(excess),
            foresight: Foresight::default(),
            lives: Lives::default(),
            pace: Pace::default(),
            began: clock::now(),
            told: Vec::new(),
            saw_nothing: None,
            acts: None,
        }
    }

    /// Whether it may act now. When its turn begins, it forgets its state, which is outdated.
    fn is_its_turn(&mut self) -> bool {
        let Some(actor) = &self.shared.actor else { return true };
        let acts = actor.turn.is_mine();
        if self.acts.replace(acts) == Some(acts) {
            return acts;
        }
        self.shared.metrics.acts.set(acts.into());
        if acts {
            info!("this balancer acts");
        } else {
            info!(whose = actor.turn.whose(), "another balancer acts: standing by");
        }
        self.utilization = Utilization::new(self.shared.settings.rules);
        self.excess = Excess::new(self.shared.settings.excess);
        self.foresight = Foresight::default();
        self.lives = Lives::default();
        self.pace = Pace::default();
        self.told.clear();
        acts
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(clock::now().duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(&mut self) {
        let interval = |every: Duration| {
            let start = tokio::time::Instant::from_std(self.began) + every;
            let mut interval = tokio::time::interval_at(start, every);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            interval
        };
        let mut utilize = interval(self.shared.settings.utilization_interval);
        let mut balance = interval(self.shared.settings.balance_interval);
        // Report what it sees and what it waits for before the first decision is due.
        self.look(Look::See).await;
        loop {
            let portion_in = self.pace.next_due().map(|at_ms| at_ms.saturating_sub(self.now_ms()));
            let next_portion = async {
                match portion_in {
                    Some(wait_ms) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = next_portion => self.shed_due().await,
                _ = utilize.tick() => self.look(Look::Utilize).await,
                _ = balance.tick() => self.look(Look::Balance).await,
            }
        }
    }

    /// Reactivates resting servers beside an autoscaler: nobody else would ever do so. If the policy owns the number of
    /// servers, being inactive is a lasting state, and the next balancer continues from it.
    pub(crate) async fn leave(&mut self) {
        let Some(actor) = self.shared.actor.clone().filter(|_| self.is_its_turn()) else { return };
        let Ok(Seen { service, .. }) = actor.look().await else { return };
        if !self.is_excess(Some(&service)) {
            return;
        }
        let fleet = fleet::of_platform(&service, None, &self.shared.settings);
        let decisions = self.excess.end(self.now_ms(), &fleet);
        self.obey(decisions, Some(&service)).await;
    }

    fn is_excess(&self, service: Option<&ServiceSnapshot>) -> bool {
        match self.shared.settings.policy {
            Policy::Auto => service.is_some_and(|service| service.autoscaler.is_some()),
            policy => policy == Policy::Excess,
        }
    }

    async fn look(&mut self, look: Look) {
        let only_sees = matches!(look, Look::See);
        if !only_sees && !self.is_its_turn() {
            return self.stand_by().await;
        }
        let Ok(mut listed) = self.shared.listed().await else { return };
        let service = match &self.shared.actor {
            None => None,
            Some(actor) => match actor.look().await {
                Ok(Seen { service, problems }) => {
                    if listed.is_none()
                        && let Some(replica) = fleet::uncounted(&service)
                    {
                        let why = problems.into_iter().find(|problem| problem.contains(replica));
                        let why = why.unwrap_or_else(|| format!("the connections of {replica} are unknown"));
                        self.shared.platform_degraded(&why);
                        return;
                    }
                    if self.shared.readiness.restore(PLATFORM) {
                        info!("the platform answers again");
                    }
                    Some(service)
                }
                Err(error) => {
                    self.shared.platform_failed(&error);
                    return;
                }
            },
        };
        if let Some(service) = service.as_ref().filter(|_| !only_sees) {
            self.tell_scale_down(service);
            if let Some(listed) = &mut listed
                && self.remove_ended(service, listed).await.is_err()
            {
                return;
            }
        }
        let settings = &self.shared.settings;
        let fleet = match (&service, &listed) {
            (Some(service), listed) => fleet::of_platform(service, listed.as_ref(), settings),
            (None, Some(listed)) => fleet::of_redis(listed, settings),
            (None, None) => {
                self.shared.platform_degraded(NOTHING_TO_SEE);
                return;
            }
        };
        self.tell_sight(&fleet, listed.is_some());
        if only_sees {
            return;
        }
        self.shared.metrics.seen(&fleet);
        let decisions = self.decide(look, fleet, service.as_ref()).await;
        self.obey(decisions, service.as_ref()).await;
    }

    /// What it saw at its start is now the other balancer's concern. But on a local platform that is not running,
    /// nobody has the turn, and all would stand by in silence.
    async fn stand_by(&self) {
        let Shared { readiness, settings, actor, .. } = &*self.shared;
        readiness.restore(REDIS);
        if settings.local_platform.is_some()
            && let Some(actor) = actor
            && let Err(error @ TargetError::NotRunning { .. }) = actor.look().await
        {
            self.shared.platform_failed(&error);
        } else {
            readiness.restore(PLATFORM);
        }
    }

    /// Reports how much there is to manage: at first, and whenever that changes between nothing and something.
    fn tell_sight(&mut self, fleet: &Fleet, in_redis: bool) {
        let is_empty = fleet.servers.is_empty();
        if self.saw_nothing.replace(is_empty) == Some(is_empty) {
            return;
        }
        let Settings { service, redis, utilization_interval: every, .. } = &self.shared.settings;
        match (is_empty, self.shared.actor.is_some()) {
            (true, true) => info!(service, "it has no replica: waiting for one"),
            (true, false) => info!(
                %redis,
                ?every,
                "Redis lists no sessions under WsSession# or SseSession#: waiting for servers that list theirs there"
            ),
            (false, _) => info!(
                service,
                servers = fleet.servers.len(),
                sessions = fleet.connections(),
                in_redis,
                ?every,
                "observing the service"
            ),
        }
    }

    /// Removes the sessions of servers that have ended.
    async fn remove_ended(&mut self, service: &ServiceSnapshot, listed: &mut Listed) -> Result<(), ()> {
        let (Ended { keys, of_present }, lives) = self.lives.part(service, listed);
        if !keys.is_empty()
            && let Err(reason) = self.shared.store.remove(&keys).await
        {
            self.shared.redis_failed(&reason);
            return Err(());
        }
        self.lives = lives;
        if keys.is_empty() {
            return Ok(());
        }
        info!(sessions = keys.len(), "removed sessions of servers that have ended: their users come back");
        let now_ms = self.now_ms();
        self.utilization.shed(now_ms, of_present);
        self.excess.shed(now_ms, of_present);
        Ok(())
    }

    /// Counts scale-downs by autoscalers, and whether they were foreseen.
    fn tell_scale_down(&mut self, service: &ServiceSnapshot) {
        let Some(scale_down) = self.foresight.scaled(service.autoscaler.is_some().then_some(service.desired))
        else {
            return;
        };
        let ScaleDown { from, to, unforeseen } = scale_down;
        let metrics = &self.shared.metrics;
        match unforeseen {
            None => {
                metrics.foreseen.inc();
                metrics.victims.inc_by(u64::from(from - to));
                info!(from, to, "foreseen scale-down");
            }
            Some(why) => {
                metrics.unforeseen.inc();
                info!(from, to, why, "unforeseen scale-down: nothing was written for it");
            }
        }
    }

    async fn decide(
        &mut self,
        look: Look,
        mut fleet: Fleet,
        service: Option<&ServiceSnapshot>,
    ) -> Vec<Decision> {
        let now_ms = self.now_ms();
        let by_hand = self.shared.moved_by_hand.swap(0, Ordering::Relaxed);
        self.utilization.shed(now_ms, by_hand);
        self.excess.shed(now_ms, by_hand);
        let is_autoscaled = service.is_some_and(|service| service.autoscaler.is_some());
        let excess = self.is_excess(service);
        match look {
            Look::See => Vec::new(),
            Look::Utilize if excess => {
                if let Some(actor) = self.shared.actor.as_ref().filter(|_| is_autoscaled) {
                    fleet.foreseen = self.foresight.look(actor.autoscaler().await.as_ref());
                }
                self.excess.look(now_ms, &fleet)
            }
            Look::Balance if excess => Vec::new(),
            Look::Utilize => vec![self.utilization.utilize(now_ms, &fleet)],
            Look::Balance => self.utilization.balance(now_ms, &fleet),
        }
    }

    async fn obey(&mut self, decisions: Vec<Decision>, service: Option<&ServiceSnapshot>) {
        let is_autoscaled = service.is_some_and(|service| service.autoscaler.is_some());
        let reasons: Vec<Reason> = decisions.iter().map(|decision| decision.reason.clone()).collect();
        let is_news = self.told != reasons;
        for Decision { mut orders, reason } in decisions {
            if is_autoscaled && orders.iter().any(|order| matches!(order, Order::Scale { .. })) {
                orders.retain(|order| !matches!(order, Order::Scale { .. }));
                warn!(%reason, "not scaling: an autoscaler owns the replicas");
            }
            let ordered: Vec<String> = orders.iter().map(words).collect();
            if !orders.is_empty() || is_news {
                info!(orders = ordered.join(", "), %reason, acts = self.shared.actor.is_some(), "decided");
            }
            if orders.is_empty() {
                continue;
            }
            self.shared.metrics.decisions.inc();
            let Some(actor) = self.shared.actor.clone() else { continue };
            // Reporting failures must not prevent the action.
            let _ = actor.tell(Balanced { orders: ordered, reason: reason.to_string() }).await;
            let for_victims = matches!(reason, Reason::Foreseen { .. } | Reason::NotForeseen { .. });
            self.carry_out(&actor, orders, for_victims).await;
        }
        self.told = reasons;
    }

    /// Stops at the first failure: later orders depend on earlier ones.
    async fn carry_out(&mut self, actor: &Actor, orders: Vec<Order>, for_victims: bool) {
        for order in orders {
            if !self.is_its_turn() {
                return;
            }
            if let Order::Shed { server, count, per_second } = &order {
                self.pace.begin(self.now_ms(), server, *count, *per_second, &mut rand::rng());
            } else if let Err(error) = actor.carry_out(order.clone()).await {
                self.shared.platform_failed(&error);
                return;
            } else if for_victims {
                self.shared.metrics.victim_writes.inc();
            }
            self.shared.metrics.carried_out(&order);
        }
    }

    async fn shed_due(&mut self) {
        let now_ms = self.now_ms();
        let Some(actor) = self.shared.actor.clone() else { return };
        for Portion { server, count } in self.pace.due(now_ms, &mut rand::rng()) {
            if !self.is_its_turn() {
                return;
            }
            match self.shared.shed(&actor, &server, count).await {
                Ok(shed) => {
                    self.utilization.shed(now_ms, shed);
                    self.excess.shed(now_ms, shed);
                }
                // It may be gone; the next look decides again.
                Err(_) => self.pace.keep(|other| other != server),
            }
        }
    }
}

/// The purpose of a look.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// To report what there is. Nothing is decided, so no turn is needed: if a balancer is killed, another one takes
    /// over at its next look, not its own successor.
    See,
    Utilize,
    Balance,
}
