//! Reads the parts of a script that are simpler in JSON than what derived code reads.
//!
//! Untagged enums would need fewer lines, but their errors do not say what was expected, nor where.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::script::{
    Action, ConnectionScript, Handshake, Payload, ProtocolAnswer, Script, StatusAnswer, Upgrade,
};

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScriptVisitor)
    }
}

struct ScriptVisitor;

impl<'de> Visitor<'de> for ScriptVisitor {
    type Value = Script;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of connections, or an object with the key `connections`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Script, A::Error> {
        let connections = objects(SeqAccessDeserializer::new(seq))?;
        Ok(Script { connections })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Script, A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(deserialize_with = "objects")]
            connections: Vec<ConnectionScript>,
        }
        let Fields { connections } = Fields::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Script { connections })
    }
}

/// Reads an object. Derived code would also accept an array of its values.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Reads an array of objects.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(all.into_iter().map(|Object(one)| one).collect())
}

impl<'de> Deserialize<'de> for Handshake {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HandshakeVisitor)
    }
}

struct HandshakeVisitor;

const HANDSHAKE_WORDS: &[&str] = &["upgrade", "refuse", "hang", "wrongUpgrade"];

impl<'de> Visitor<'de> for HandshakeVisitor {
    type Value = Handshake;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`upgrade`, `refuse`, `hang`, `wrongUpgrade`, or an object")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Handshake, E> {
        match word {
            "upgrade" => Ok(Handshake::default()),
            "refuse" => Ok(Handshake::Refuse),
            "hang" => Ok(Handshake::Hang),
            "wrongUpgrade" => Ok(Handshake::WrongUpgrade),
            other => Err(E::unknown_variant(other, HANDSHAKE_WORDS)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Handshake, A::Error> {
        HandshakeFields::deserialize(MapAccessDeserializer::new(map))?.into_handshake()
    }
}

/// All keys that a handshake object may have. Which of them may occur together is checked
/// afterwards.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HandshakeFields {
    status: Option<u16>,
    reason: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    delay_ms: Option<u64>,
    #[serde(default)]
    protocol: ProtocolAnswer,
    raw: Option<String>,
    #[serde(default, deserialize_with = "hex::deserialize_some")]
    raw_hex: Option<Vec<u8>>,
}

impl HandshakeFields {
    fn into_handshake<E: de::Error>(self) -> Result<Handshake, E> {
        let forced = self.protocol != ProtocolAnswer::FirstOffered;
        let raw = match (self.raw, self.raw_hex) {
            (Some(_), Some(_)) => return Err(E::custom("`raw` and `rawHex` exclude each other")),
            (Some(text), None) => Some(text.into_bytes()),
            (None, bytes) => bytes,
        };
        if let Some(bytes) = raw {
            let alone = self.status.is_none()
                && self.reason.is_none()
                && self.headers.is_empty()
                && self.body.is_none()
                && self.delay_ms.is_none()
                && !forced;
            return match alone {
                true => Ok(Handshake::Raw(bytes)),
                false => Err(E::custom("`raw` and `rawHex` stand alone")),
            };
        }
        let delay_ms = self.delay_ms.unwrap_or(0);
        if let Some(status) = self.status {
            if forced {
                return Err(E::custom("`protocol` belongs to an upgrade, not to a status"));
            }
            // 101 is an upgrade, which has words of its own (`upgrade`, `wrongUpgrade`).
            if !(100..=999).contains(&status) || status == 101 {
                return Err(E::custom("`status` must be from 100 to 999, and not 101"));
            }
            return Ok(Handshake::Status(StatusAnswer {
                status,
                reason: self.reason,
                headers: self.headers,
                body: self.body.unwrap_or_default(),
                delay_ms,
            }));
        }
        if self.reason.is_some() || self.body.is_some() {
            return Err(E::custom("`reason` and `body` need a `status`"));
        }
        Ok(Handshake::Upgrade(Upgrade { delay_ms, headers: self.headers, protocol: self.protocol }))
    }
}

impl Serialize for Handshake {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Handshake::Upgrade(upgrade) if *upgrade == Upgrade::default() => {
                serializer.serialize_str("upgrade")
            }
            Handshake::Upgrade(upgrade) => upgrade.serialize(serializer),
            Handshake::Refuse => serializer.serialize_str("refuse"),
            Handshake::Hang => serializer.serialize_str("hang"),
            Handshake::WrongUpgrade => serializer.serialize_str("wrongUpgrade"),
            Handshake::Status(answer) => answer.serialize(serializer),
            Handshake::Raw(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => map.serialize_entry("raw", text)?,
                    Err(_) => map.serialize_entry("rawHex", &hex::encode(bytes))?,
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ProtocolAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<String>::deserialize(deserializer)? {
            Some(name) => ProtocolAnswer::Force(name),
            None => ProtocolAnswer::None,
        })
    }
}

impl Serialize for ProtocolAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ProtocolAnswer::Force(name) => serializer.serialize_str(name),
            ProtocolAnswer::None | ProtocolAnswer::FirstOffered => serializer.serialize_none(),
        }
    }
}

/// Reads an action (`"drop"` or `{"send": "x"}`) or an array of actions.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Action>, D::Error> {
    deserializer.deserialize_any(ActionsVisitor)
}

struct ActionsVisitor;

impl<'de> Visitor<'de> for ActionsVisitor {
    type Value = Vec<Action>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an action or an array of actions")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Vec<Action>, E> {
        Ok(vec![Action::deserialize(StrDeserializer::new(word))?])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Action>, A::Error> {
        Ok(vec![Action::deserialize(MapAccessDeserializer::new(map))?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<Action>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq))
    }
}

/// The JSON form of [`Action::Fragment`].
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FragmentFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "hex::serialize_some",
        deserialize_with = "hex::deserialize_some"
    )]
    hex: Option<Vec<u8>>,
    pieces: u32,
}

impl FragmentFields {
    pub(super) fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(Payload, u32), D::Error> {
        let Object(fields) = Object::<FragmentFields>::deserialize(deserializer)?;
        let payload = match (fields.text, fields.hex) {
            (Some(text), None) => Payload::Text(text),
            (None, Some(bytes)) => Payload::Binary(bytes),
            _ => return Err(de::Error::custom("`fragment` needs either `text` or `hex`")),
        };
        match fields.pieces {
            pieces @ 1..=1_000_000 => Ok((payload, pieces)),
            _ => Err(de::Error::custom("`pieces` must be from 1 to 1000000")),
        }
    }

    pub(super) fn write<S: Serializer>(
        payload: &Payload,
        pieces: &u32,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (text, hex) = match payload {
            Payload::Text(text) => (Some(text.clone()), None),
            Payload::Binary(bytes) => (None, Some(bytes.clone())),
        };
        let pieces = *pieces;
        FragmentFields { text, hex, pieces }.serialize(serializer)
    }
}

/// The JSON form of [`Action::Close`].
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(default)]
    reason: String,
}

impl CloseFields {
    pub(super) fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(Option<u16>, String), D::Error> {
        let Object(CloseFields { code, reason }) = Object::deserialize(deserializer)?;
        if code.is_none() && !reason.is_empty() {
            return Err(de::Error::custom("`reason` needs a `code`"));
        }
        // A control frame has room for 125 bytes, two of which are the code (RFC 6455, 5.5).
        if reason.len() > 123 {
            let len = reason.len();
            let why = format!("`reason` is {len} bytes long; a close frame has room for 123");
            return Err(de::Error::custom(why));
        }
        Ok((code, reason))
    }

    pub(super) fn write<S: Serializer>(
        code: &Option<u16>,
        reason: &str,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        CloseFields { code: *code, reason: reason.to_owned() }.serialize(serializer)
    }
}

/// Checks of the values of a script.
pub(super) mod limits {
    use serde::de::{Deserialize, Deserializer, Error};

    pub(crate) fn messages<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        from_one("messages", d)
    }

    pub(crate) fn heartbeats<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        from_one("heartbeats", d)
    }

    fn from_one<'de, D: Deserializer<'de>>(what: &str, d: D) -> Result<u64, D::Error> {
        match u64::deserialize(d)? {
            0 => Err(D::Error::custom(format!("`{what}` counts from 1"))),
            count => Ok(count),
        }
    }

    pub(crate) fn ping<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        let payload = String::deserialize(d)?;
        // A control frame has room for 125 bytes (RFC 6455, 5.5).
        if payload.len() > 125 {
            let len = payload.len();
            let why = format!("`ping` is {len} bytes long; a control frame has room for 125");
            return Err(D::Error::custom(why));
        }
        Ok(payload)
    }
}

/// Bytes as hexadecimal digits, with optional spaces between them.
pub(super) mod hex {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn decode(text: &str) -> Option<Vec<u8>> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits?;
        let (pairs, []) = digits.as_chunks::<2>() else {
            return None;
        };
        Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        decode(&text).ok_or_else(|| D::Error::custom("expected pairs of hexadecimal digits"))
    }

    pub(crate) fn serialize_some<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serialize(bytes.as_deref().unwrap_or_default(), serializer)
    }

    pub(crate) fn deserialize_some<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        deserialize(deserializer).map(Some)
    }
}
