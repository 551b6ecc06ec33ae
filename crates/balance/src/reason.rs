//! The reasons of decisions, as numbers, and the only place that puts them into words.

use std::fmt;

/// A share of a whole, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub part: u64,
    pub whole: u64,
}

impl Share {
    /// Whether it is above `percent`. With a whole of 0 any part above 0 is above everything, and 0 is not.
    pub(crate) fn is_above(self, percent: u64) -> bool {
        u128::from(self.part) * 100 > u128::from(self.whole) * u128::from(percent)
    }

    pub fn is_below(self, percent: u64) -> bool {
        u128::from(self.part) * 100 < u128::from(self.whole) * u128::from(percent)
    }

    /// In per cent, truncated.
    pub fn percent(self) -> u64 {
        (u128::from(self.part) * 100).checked_div(self.whole.into()).unwrap_or(0) as u64
    }
}

impl fmt::Display for Share {
    /// `9 of 10 sessions = 90 %`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, whole } = self;
        write!(f, "{part} of {whole} sessions")?;
        let Some(tenths) = (u128::from(*part) * 1000).checked_div((*whole).into()) else { return Ok(()) };
        let is_exact = tenths * u128::from(*whole) == u128::from(*part) * 1000;
        write!(f, " = {}", tenths / 10)?;
        match (tenths % 10, is_exact) {
            (0, true) => {}
            (tenth, true) => write!(f, ".{tenth}")?,
            // So that 80.04 % is not shown as 80 % above 80 %.
            (tenth, false) => write!(f, ".{tenth}…")?,
        }
        f.write_str(" %")
    }
}

/// How many servers the sessions need: ⌈sessions ÷ per server⌉.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub sessions: u64,
    /// `LIMIT` × `MAX`, in hundredths of a session.
    pub per_server_hundredths: u64,
    pub servers: u64,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.per_server_hundredths / 100, self.per_server_hundredths % 100);
        write!(f, "⌈{} ÷ {whole}", self.sessions)?;
        match rest {
            0 => {}
            _ if rest % 10 == 0 => write!(f, ".{}", rest / 10)?,
            _ => write!(f, ".{rest:02}")?,
        }
        write!(f, "⌉ = {}", counted(self.servers, "server"))
    }
}

/// The reason of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is no server.
    NoServers,
    /// Rule 2: too many sessions for the active servers.
    Over { share: Share, fence: u64, wanted: Wanted, activated: Vec<String>, added: u32, most: Option<u32> },
    /// Rule 3: too few, so some servers take no new sessions.
    Under { share: Share, fence: u64, wanted: Wanted, taken_out: Vec<String> },
    /// Neither 2 nor 3 applies: nothing to do, or, by rule 4, empty inactive servers are removed.
    Within { share: Share, min: u64, max: u64, gone: Vec<String> },
    /// Rule 6: no sessions anywhere.
    NobodyThere { kept: String, from: u32 },
    /// Rule 5: a server has more than its share.
    Full { server: String, sessions: u64, percent: u64, overall: u64, tolerance: u64, keeps: u64 },
    /// Rule 5: no server has more than its share.
    Even { overall: u64, tolerance: u64 },
    /// Fewer than two servers can share.
    NobodyToShareWith,
    /// The service was scaled just now.
    Settling { for_ms: u64 },
    /// All servers have their fair share, within the tolerance.
    Fair { total: u64, servers: u64, tolerance: u64 },
    /// A server is above its share, perhaps only for a moment.
    MayPass { server: String, connections: u64, fair: u64, tolerance: u64 },
    /// A server sheds its excess above its share.
    Excess { server: String, connections: u64, fair: u64, keeps: u64, sheds: u64, rests: bool },
    /// The others cannot take more.
    NoRoom { server: String, excess: u64 },
    /// Shed connections are still moving.
    Underway { until_ms: u64 },
    /// A server has its share already, while another one sheds.
    HasItsShare { server: String, connections: u64, fair: u64 },
    /// A server takes new connections again.
    Rested { server: String, connections: u64, fair: u64 },
    /// A scale-down is foreseen, so the emptiest take no new connections and go first.
    Foreseen { from: u64, to: u64, victims: Vec<String> },
    /// Victims are shedding.
    VictimsFirst,
    /// A foreseen victim sheds.
    Leaves { server: String, connections: u64, sheds: u64 },
    /// The scale-down will not come after all, or it is unknown why the server was taken out.
    NotForeseen { server: String },
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn verb<'a>(names: &[String], one: &'a str, more: &'a str) -> &'a str {
    if names.len() == 1 { one } else { more }
}

impl fmt::Display for Reason {
    #[expect(clippy::too_many_lines, reason = "one arm for each reason, and nothing else")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServers => f.write_str("there is no server"),
            Self::Over { share, fence, wanted, activated, added, most } => {
                write!(f, "{share} > {fence} %: wants {wanted}")?;
                if !activated.is_empty() {
                    write!(f, "; {} {} active again", activated.join(", "), verb(activated, "is", "are"))?;
                }
                if *added > 0 {
                    write!(f, "; {added} more")?;
                }
                most.map_or(Ok(()), |most| write!(f, "; {most} replicas are the most allowed"))
            }
            Self::Under { share, fence, wanted, taken_out } => {
                write!(f, "{share} < {fence} %: wants {wanted}; ")?;
                let takes = verb(taken_out, "takes", "take");
                let keeps = verb(taken_out, "keeps its own", "keep their own");
                write!(f, "{} {takes} no new sessions and {keeps}", taken_out.join(", "))
            }
            Self::Within { share, min, max, gone } => {
                if share.is_below(*min) {
                    write!(f, "{share} < {min} %, but no active server can be spared")?;
                } else {
                    write!(f, "{share}, from {min} to {max} %")?;
                }
                if gone.is_empty() {
                    return f.write_str(": nothing to do");
                }
                let (are, go) = (verb(gone, "is", "are"), verb(gone, "goes", "go"));
                write!(f, "; {} {are} inactive and without sessions, and so {go}", gone.join(", "))
            }
            Self::NobodyThere { kept, from } => {
                write!(f, "no sessions on any of {}: only {kept} stays", counted(u64::from(*from), "server"))
            }
            Self::Full { server, sessions, percent, overall, tolerance, keeps } => write!(
                f,
                "{server} at {percent} % > {overall} % overall + {tolerance} %: sheds {} of {sessions}, keeps {keeps}",
                sessions - keeps
            ),
            Self::Even { overall, tolerance } => {
                write!(f, "no server is above {overall} % overall + {tolerance} %: nothing to shed")
            }
            Self::NobodyToShareWith => f.write_str("fewer than two servers share the connections"),
            Self::Settling { for_ms } => {
                write!(
                    f,
                    "the replicas changed {} s ago: nothing moves until that has settled",
                    for_ms / 1000
                )
            }
            Self::Fair { total, servers, tolerance } => write!(
                f,
                "{total} connections on {}: none is more than {tolerance} % above its fair share",
                counted(*servers, "server")
            ),
            Self::MayPass { server, connections, fair, tolerance } => write!(
                f,
                "{server} has {connections}, more than {tolerance} % above the fair share of {fair}: sheds if that lasts"
            ),
            Self::Excess { server, connections, fair, keeps, sheds, rests } => {
                write!(
                    f,
                    "{server} has {connections}, fair are {fair}: sheds {sheds} on the way to {keeps}"
                )?;
                if *rests { f.write_str(" and takes no new ones meanwhile") } else { Ok(()) }
            }
            Self::NoRoom { server, excess } => {
                write!(f, "{server} has {excess} too many, but the others have no room for them")
            }
            Self::Underway { until_ms } => {
                write!(f, "what was shed is on its way; next look at {} s", until_ms / 1000)
            }
            Self::HasItsShare { server, connections, fair } => {
                write!(
                    f,
                    "{server} has {connections}, fair are {fair}: takes no new ones until the others have theirs"
                )
            }
            Self::Rested { server, connections, fair } => {
                write!(f, "{server} has {connections}, fair are {fair}: takes new ones again")
            }
            Self::Foreseen { from, to, victims } => {
                let takes = verb(victims, "is the emptiest: takes", "are the emptiest: take");
                let goes = verb(victims, "goes", "go");
                write!(
                    f,
                    "a scale-down {from} → {to} is foreseen; {} {takes} no new connections and {goes} first",
                    victims.join(", ")
                )
            }
            Self::VictimsFirst => {
                f.write_str("those that will go shed first: what they had evens the others out")
            }
            Self::Leaves { server, connections, sheds } => {
                write!(f, "{server} will go: sheds {sheds} of {connections} early")
            }
            Self::NotForeseen { server } => {
                write!(
                    f,
                    "{server} was taken out, and no scale-down is foreseen: takes new connections again"
                )
            }
        }
    }
}
