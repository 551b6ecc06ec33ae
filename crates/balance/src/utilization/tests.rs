use super::*;
use crate::Traffic;

/// Servers named `ws-0`, `ws-1`… with these sessions; a name that ends with `!` is inactive.
fn fleet(sessions: &[(u64, bool)]) -> Fleet {
    let servers = sessions.iter().enumerate().map(|(index, &(connections, active))| Server {
        name: format!("ws-{index}"),
        connections,
        capacity: 10,
        traffic: if active { Traffic::Active } else { Traffic::Inactive },
        ready: true,
        deletion_cost: 0,
    });
    Fleet { servers: servers.collect(), replicas: sessions.len() as u32, ..Fleet::default() }
}

fn active(sessions: &[u64]) -> Fleet {
    fleet(&sessions.iter().map(|&sessions| (sessions, true)).collect::<Vec<_>>())
}

fn utilize(fleet: &Fleet) -> (String, String) {
    let Decision { orders, reason } = Utilization::new(Rules::default()).utilize(0, fleet);
    (words(&orders), reason.to_string())
}

fn balance(fleet: &Fleet) -> (String, Vec<String>) {
    let decisions = Utilization::new(Rules::default()).balance(0, fleet);
    let orders: Vec<_> = decisions.iter().flat_map(|decision| decision.orders.clone()).collect();
    (words(&orders), decisions.iter().map(|decision| decision.reason.to_string()).collect())
}

fn words(orders: &[Order]) -> String {
    let words = orders.iter().map(|order| match order {
        Order::SetTraffic { server, traffic } => format!("{server} {traffic}"),
        Order::SetDeletionCost { server, cost } => format!("{server} cost {cost}"),
        Order::Scale { from, to } => format!("{from} → {to}"),
        Order::Shed { server, count, .. } => format!("{server} sheds {count}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(cases: &[(Fleet, &str, &str)]) {
    for (fleet, orders, reason) in cases {
        let (ordered, why) = utilize(fleet);
        assert_eq!((ordered.as_str(), why.as_str()), (*orders, *reason), "{fleet:?}");
    }
}

#[test]
fn rule_1_sessions_of_inactive_servers_count_and_their_places_do_not() {
    check(&[
        // 8 of 10, not 8 of 20.
        (fleet(&[(7, true), (1, false)]), "", "8 of 10 sessions = 80 %, from 40 to 80 %: nothing to do"),
        (
            fleet(&[(4, true), (4, true), (1, false)]),
            "",
            "9 of 20 sessions = 45 %, from 40 to 80 %: nothing to do",
        ),
    ]);
}

#[test]
fn rule_1_sessions_of_unknown_servers_and_of_those_turned_away_count() {
    let mut killed = active(&[4, 4]);
    killed.elsewhere = 9;
    let mut full = active(&[30]);
    full.waiting = 10;
    check(&[
        (killed, "2 → 3", "17 of 20 sessions = 85 % > 80 %: wants ⌈17 ÷ 7⌉ = 3 servers; 1 more"),
        (full, "1 → 6", "40 of 10 sessions = 400 % > 80 %: wants ⌈40 ÷ 7⌉ = 6 servers; 5 more"),
    ]);
}

#[test]
fn rule_2_scales_up_above_the_threshold_and_not_at_it() {
    let mut more_allowed = active(&[7; 10]);
    more_allowed.servers[0].connections = 30;
    check(&[
        (active(&[7]), "", "7 of 10 sessions = 70 %, from 40 to 80 %: nothing to do"),
        (active(&[8]), "", "8 of 10 sessions = 80 %, from 40 to 80 %: nothing to do"),
        (active(&[9]), "1 → 2", "9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers; 1 more"),
        (active(&[30]), "1 → 5", "30 of 10 sessions = 300 % > 80 %: wants ⌈30 ÷ 7⌉ = 5 servers; 4 more"),
        (active(&[40]), "1 → 6", "40 of 10 sessions = 400 % > 80 %: wants ⌈40 ÷ 7⌉ = 6 servers; 5 more"),
        (
            more_allowed,
            "",
            "93 of 100 sessions = 93 % > 80 %: wants ⌈93 ÷ 7⌉ = 14 servers; 10 replicas are the most allowed",
        ),
    ]);
}

#[test]
fn rule_2_thresholds_are_exact_for_large_numbers() {
    // A third of a per cent of ten million: one session above the fence decides.
    let rules = Rules { limit: 5_000_000, ..Rules::default() };
    for (sessions, grows) in [(8_000_000, false), (8_000_001, true)] {
        let mut fleet = active(&[sessions, 0]);
        fleet.servers.iter_mut().for_each(|server| server.capacity = rules.limit);
        let decision = Utilization::new(rules).utilize(0, &fleet);
        assert_eq!(!decision.orders.is_empty(), grows, "{}", decision.reason);
    }
}

#[test]
fn rule_2_inactive_servers_come_back_first() {
    let mut marked = fleet(&[(9, true), (0, false)]);
    marked.servers[1].deletion_cost = -100;
    check(&[
        (
            fleet(&[(7, true), (2, false)]),
            "ws-1 active",
            "9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers; ws-1 is active again",
        ),
        (
            marked,
            "ws-1 cost 0, ws-1 active",
            "9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers; ws-1 is active again",
        ),
        (
            fleet(&[(20, true), (3, false), (4, false)]),
            "ws-2 active, ws-1 active, 3 → 4",
            "27 of 10 sessions = 270 % > 80 %: wants ⌈27 ÷ 7⌉ = 4 servers; ws-2, ws-1 are active again; 1 more",
        ),
    ]);
}

#[test]
fn rule_2_starting_replicas_are_not_requested_twice() {
    let mut fleet = active(&[9]);
    fleet.replicas = 2;
    check(&[(fleet, "", "9 of 20 sessions = 45 %, from 40 to 80 %: nothing to do")]);
}

#[test]
fn rule_3_the_least_used_servers_take_no_new_sessions() {
    check(&[
        // 13 users on two servers, and 6 of the server with 7 left.
        (
            active(&[1, 6]),
            "ws-0 inactive",
            "7 of 20 sessions = 35 % < 40 %: wants ⌈7 ÷ 7⌉ = 1 server; ws-0 takes no new sessions and keeps its own",
        ),
        (active(&[4, 4]), "", "8 of 20 sessions = 40 %, from 40 to 80 %: nothing to do"),
        (
            active(&[2, 5, 1, 2]),
            "ws-2 inactive, ws-0 inactive",
            "10 of 40 sessions = 25 % < 40 %: wants ⌈10 ÷ 7⌉ = 2 servers; ws-2, ws-0 take no new sessions and keep \
             their own",
        ),
        // Never the last one.
        (
            active(&[1]),
            "",
            "1 of 10 sessions = 10 % < 40 %, but no active server can be spared: nothing to do",
        ),
    ]);
}

#[test]
fn rule_3_a_server_that_is_not_ready_goes_before_its_equals() {
    let mut fleet = active(&[1, 1, 1]);
    fleet.servers[1].ready = false;
    fleet.servers[2].ready = false;
    assert_eq!(utilize(&fleet).0, "ws-1 inactive, ws-2 inactive");
}

#[test]
fn rule_4_empty_inactive_servers_are_removed() {
    let mut going = fleet(&[(7, true), (0, false)]);
    going.servers[1].deletion_cost = -100;
    going.replicas = 1;
    check(&[
        (
            fleet(&[(7, true), (0, false)]),
            "ws-1 cost -100, 2 → 1",
            "7 of 10 sessions = 70 %, from 40 to 80 %; ws-1 is inactive and without sessions, and so goes",
        ),
        (
            fleet(&[(5, true), (0, false), (1, false), (0, false)]),
            "ws-1 cost -100, ws-3 cost -100, 4 → 2",
            "6 of 10 sessions = 60 %, from 40 to 80 %; ws-1, ws-3 are inactive and without sessions, and so go",
        ),
        // Even below the fence, if no server can be spared.
        (
            fleet(&[(3, true), (0, false)]),
            "ws-1 cost -100, 2 → 1",
            "3 of 10 sessions = 30 % < 40 %, but no active server can be spared; ws-1 is inactive and without sessions, and so goes",
        ),
        // It was marked before, and has not ended yet.
        (
            going,
            "",
            "7 of 10 sessions = 70 %, from 40 to 80 %; ws-1 is inactive and without sessions, and so goes",
        ),
    ]);
}

#[test]
fn rule_4_no_removal_in_a_tick_that_activates_or_deactivates() {
    assert_eq!(utilize(&fleet(&[(6, true), (1, true), (0, false)])).0, "ws-1 inactive");
    assert_eq!(utilize(&fleet(&[(9, true), (0, false)])).0, "ws-1 active");
}

#[test]
fn rule_5_compares_whole_per_cents() {
    let spread = |mut fleet: Fleet| {
        fleet.replicas = fleet.servers.len() as u32;
        balance(&fleet)
    };
    let (orders, reasons) = spread(active(&[7, 6, 6, 3]));
    assert_eq!(orders, "ws-0 sheds 1", "22 of 40 are 55 %: 70 % is above 65 %, down to ⌈5.5⌉ = 6");
    assert_eq!(reasons, ["ws-0 at 70 % > 55 % overall + 10 %: sheds 1 of 7, keeps 6"]);
    let (orders, reasons) = spread(active(&[6, 6, 6, 4]));
    assert_eq!((orders.as_str(), reasons.len()), ("", 1));
    assert_eq!(reasons, ["no server is above 55 % overall + 10 %: nothing to shed"]);
    // 67 of 110 are 60 %, not 60.9 %: down to 6, not 7.
    let (orders, reasons) = spread(active(&[17, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]));
    assert_eq!(orders, "ws-0 sheds 11");
    assert_eq!(reasons, ["ws-0 at 170 % > 60 % overall + 10 %: sheds 11 of 17, keeps 6"]);
    // 70 % is not above 60 % + 10 %.
    assert_eq!(spread(active(&[7, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6])).0, "");
    // The scale-out: 9 of 20 are 45 %.
    assert_eq!(spread(active(&[9, 0])).0, "ws-0 sheds 4");
    // The hard limit, with 40 users on 6 servers: 66 %.
    assert_eq!(spread(active(&[30, 2, 2, 2, 2, 2])).0, "ws-0 sheds 23");
}

#[test]
fn rule_5_no_server_sheds_unless_another_can_take_it() {
    assert_eq!(balance(&active(&[30])).0, "");
    let mut fleet = active(&[9, 0]);
    fleet.servers[1].ready = false;
    let (orders, reasons) = balance(&fleet);
    assert_eq!(
        (orders.as_str(), reasons.concat().as_str()),
        ("", "fewer than two servers share the connections")
    );
}

#[test]
fn rule_6_without_sessions_one_server_stays() {
    check(&[
        (
            active(&[0, 0, 0]),
            "ws-1 cost -100, ws-2 cost -100, 3 → 1",
            "no sessions on any of 3 servers: only ws-0 stays",
        ),
        (
            fleet(&[(0, false), (0, true)]),
            "ws-0 cost -100, 2 → 1",
            "no sessions on any of 2 servers: only ws-1 stays",
        ),
        (
            fleet(&[(0, false), (0, false)]),
            "ws-0 active, ws-1 cost -100, 2 → 1",
            "no sessions on any of 2 servers: only ws-0 stays",
        ),
        (
            active(&[0]),
            "",
            "0 of 10 sessions = 0 % < 40 %, but no active server can be spared: nothing to do",
        ),
    ]);
}

#[test]
fn rule_7_no_server_goes_while_sessions_move() {
    let mut policy = Utilization::new(Rules::default());
    let ordered = policy.balance(0, &active(&[9, 0]));
    assert_eq!(words(&ordered[0].orders), "ws-0 sheds 4");
    policy.shed(0, 4);
    // The four are still moving: 5 of 20 would be 25 %.
    assert_eq!(words(&policy.utilize(5_000, &active(&[5, 0])).orders), "");
    assert_eq!(words(&policy.utilize(10_000, &active(&[5, 3])).orders), "");
    assert_eq!(words(&policy.utilize(14_999, &active(&[5, 3])).orders), "");
    // One never came back: 8 of 20 are 40 %, which is not below.
    assert_eq!(words(&policy.utilize(15_000, &active(&[5, 3])).orders), "");
    // If none had come back, they would be forgotten after 15 s.
    let mut policy = Utilization::new(Rules::default());
    policy.balance(0, &active(&[9, 0]));
    policy.shed(0, 4);
    assert_eq!(words(&policy.utilize(14_999, &active(&[5, 0])).orders), "");
    assert_eq!(words(&policy.utilize(15_000, &active(&[5, 0])).orders), "ws-1 inactive");
}

#[test]
fn rule_7_a_refused_client_that_gets_in_is_not_a_shed_one() {
    let mut policy = Utilization::new(Rules::default());
    let mut full = active(&[30, 1, 1, 1, 1, 1]);
    full.waiting = 5;
    assert_eq!(words(&policy.balance(0, &full)[0].orders), "ws-0 sheds 23");
    policy.shed(0, 23);
    // The five are in, and none of the 23 is back yet.
    let overall = policy.balance(2_000, &active(&[7, 2, 2, 2, 2, 2]));
    assert_eq!(overall[0].reason, Reason::Even { overall: 66, tolerance: 10 });
}

#[test]
fn without_an_active_server_one_becomes_active() {
    assert_eq!(utilize(&fleet(&[(2, false), (0, false)])).0, "ws-0 active");
    assert_eq!(utilize(&Fleet::default()), (String::new(), "there is no server".into()));
}
