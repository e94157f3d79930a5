//! The places that leave a mark on a receipt.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A place that leaves a mark on a receipt. The last five are final: a receipt gets exactly one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Station {
    /// The master chose a node for it.
    Distributed,
    /// Its payload is in the store.
    Persisted,
    /// The sender handed it to the connection.
    Sent,
    /// The node's receiver took it in, whole and verified.
    Received,
    /// The stage ran over it.
    Processed,
    /// Its result came back to the master.
    Returned,
    /// It is to be sent again.
    Retried,
    /// An attempt at it failed.
    Failed,
    /// Final: its result is in the aggregate, once.
    Aggregated,
    /// Final: the parcel was merged by the stage it was made for.
    Consumed,
    /// Final: an attempt or generation that another one took the place of.
    Superseded,
    /// Final: kept out of the result with its error and payload, for replay.
    SetAside,
    /// Final: its step was cancelled or failed.
    Abandoned,
}

impl Station {
    /// All of them, in the order of a chunk's life.
    pub const ALL: [Self; 13] = [
        Self::Distributed,
        Self::Persisted,
        Self::Sent,
        Self::Received,
        Self::Processed,
        Self::Returned,
        Self::Retried,
        Self::Failed,
        Self::Aggregated,
        Self::Consumed,
        Self::Superseded,
        Self::SetAside,
        Self::Abandoned,
    ];

    /// Whether a receipt ends here.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Aggregated | Self::Consumed | Self::Superseded | Self::SetAside | Self::Abandoned => true,
            Self::Distributed
            | Self::Persisted
            | Self::Sent
            | Self::Received
            | Self::Processed
            | Self::Returned
            | Self::Retried
            | Self::Failed => false,
        }
    }

    /// The name in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Distributed => "distributed",
            Self::Persisted => "persisted",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Processed => "processed",
            Self::Returned => "returned",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Aggregated => "aggregated",
            Self::Consumed => "consumed",
            Self::Superseded => "superseded",
            Self::SetAside => "set_aside",
            Self::Abandoned => "abandoned",
        }
    }

    /// The station of that [`Station::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|station| station.name() == name)
    }

    /// Whether a receipt that was last at `before` may be at this one next.
    ///
    /// An attempt goes forward, from `distributed` to `returned`, and may leave stations out: a node marks only what it
    /// sees. `distributed` starts another attempt, whatever became of the one before. Nothing follows a final station.
    ///
    /// | station | follows |
    /// |---|---|
    /// | distributed, persisted, retried, failed, every final one | all that are not final |
    /// | sent | distributed, persisted |
    /// | received | distributed, persisted, sent |
    /// | processed | distributed, persisted, sent, received |
    /// | returned | distributed, persisted, sent, received, processed |
    ///
    /// So `received` does not follow `failed`: it is a late mark of the attempt that failed.
    #[must_use]
    pub const fn may_follow(self, before: Self) -> bool {
        if before.is_final() {
            return false;
        }
        match (self.way(), before.way()) {
            (None | Some(0), _) => true,
            (Some(here), Some(there)) => there < here,
            (Some(_), None) => false,
        }
    }

    /// How far along the way of one attempt this station is; none where it is not on that way.
    const fn way(self) -> Option<u8> {
        match self {
            Self::Distributed | Self::Persisted => Some(0),
            Self::Sent => Some(1),
            Self::Received => Some(2),
            Self::Processed => Some(3),
            Self::Returned => Some(4),
            Self::Retried
            | Self::Failed
            | Self::Aggregated
            | Self::Consumed
            | Self::Superseded
            | Self::SetAside
            | Self::Abandoned => None,
        }
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of stations: those that a receipt has passed. For people it is written as the list of their names.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct StationSet(u16);

impl StationSet {
    /// No station.
    pub const EMPTY: Self = Self(0);

    const KNOWN_BITS: u16 = (1 << Station::ALL.len()) - 1;

    /// Adds a station.
    pub const fn insert(&mut self, station: Station) {
        self.0 |= 1 << station as u16;
    }

    /// Whether a station is in it.
    #[must_use]
    pub const fn contains(self, station: Station) -> bool {
        self.0 & (1 << station as u16) != 0
    }

    /// Its stations, in the order of [`Station::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Station> {
        Station::ALL.into_iter().filter(move |&station| self.contains(station))
    }
}

impl FromIterator<Station> for StationSet {
    fn from_iter<I: IntoIterator<Item = Station>>(stations: I) -> Self {
        let mut set = Self::EMPTY;
        stations.into_iter().for_each(|station| set.insert(station));
        set
    }
}

impl fmt::Debug for StationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for StationSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_seq(self.iter()) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for StationSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Ok(Vec::<Station>::deserialize(deserializer)?.into_iter().collect());
        }
        let bits = u16::deserialize(deserializer)?;
        if bits & !Self::KNOWN_BITS == 0 {
            Ok(Self(bits))
        } else {
            Err(de::Error::custom("unknown station in a set of stations"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Station::{
        Abandoned, Aggregated, Consumed, Distributed, Failed, Persisted, Processed, Received, Retried, Returned, Sent,
        SetAside, Superseded,
    };
    use super::*;

    #[test]
    fn the_table_of_legal_order_is_as_documented() {
        let open = [Distributed, Persisted, Sent, Received, Processed, Returned, Retried, Failed];
        let table: [(Station, &[Station]); 13] = [
            (Distributed, &open),
            (Persisted, &open),
            (Sent, &[Distributed, Persisted]),
            (Received, &[Distributed, Persisted, Sent]),
            (Processed, &[Distributed, Persisted, Sent, Received]),
            (Returned, &[Distributed, Persisted, Sent, Received, Processed]),
            (Retried, &open),
            (Failed, &open),
            (Aggregated, &open),
            (Consumed, &open),
            (Superseded, &open),
            (SetAside, &open),
            (Abandoned, &open),
        ];
        for (station, follows) in table {
            for before in Station::ALL {
                assert_eq!(station.may_follow(before), follows.contains(&before), "{station} after {before}");
            }
        }
    }

    #[test]
    fn nothing_follows_the_five_final_stations() {
        let finals: Vec<Station> = Station::ALL.into_iter().filter(|station| station.is_final()).collect();
        assert_eq!(finals, [Aggregated, Consumed, Superseded, SetAside, Abandoned]);
        assert!(finals.iter().all(|&before| Station::ALL.iter().all(|station| !station.may_follow(before))));
    }

    #[test]
    fn names_are_those_of_metrics_and_json() {
        for station in Station::ALL {
            assert_eq!(Station::from_name(station.name()), Some(station));
            assert_eq!(serde_json::to_value(station).unwrap(), station.name());
        }
        assert_eq!(format!("{SetAside:>10}"), " set_aside");
        assert_eq!(Station::from_name("lost"), None);
    }

    #[test]
    fn a_set_keeps_its_stations_in_both_forms_and_refuses_unknown_ones() {
        let set: StationSet = [Sent, Aggregated, Distributed].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Distributed, Sent, Aggregated]);
        assert!(set.contains(Sent) && !set.contains(Failed));
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"["distributed","sent","aggregated"]"#);
        assert_eq!(serde_json::from_str::<StationSet>(&json).unwrap(), set);
        let fixed = bincode::config::standard().with_fixed_int_encoding();
        let bytes = bincode::serde::encode_to_vec(set, fixed).unwrap();
        assert_eq!(bytes, [0b0000_0101, 0b0000_0001]);
        assert_eq!(bincode::serde::decode_from_slice(&bytes, fixed).unwrap(), (set, 2));
        assert!(bincode::serde::decode_from_slice::<StationSet, _>(&[0, 0x20], fixed).is_err());
    }
}
