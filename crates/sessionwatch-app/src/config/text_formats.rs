//! Custom string formats of the configuration: timestamp decoders and socket addresses.

use std::{borrow::Cow, net::SocketAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use sessionwatch_core::{suggest::did_you_mean, time_zone::LOCAL_DECODER_PREFIX, timestamp_decoder::Decoder};

use crate::config_file::TextFormat;

const DECODER_FORMAT: &str = "decoder";
const SOCKET_ADDRESS_FORMAT: &str = "socket-address";

/// String formats that the configuration file uses.
pub const TEXT_FORMATS: &[TextFormat] = &[
    TextFormat { name: DECODER_FORMAT, describe: describe_decoder, check: check_decoder },
    TextFormat { name: SOCKET_ADDRESS_FORMAT, describe: describe_address, check: check_address },
];

/// Timestamp decoder, parsed from its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecoderName(pub(super) Decoder);

impl<'de> Deserialize<'de> for DecoderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Decoder::parse(&name).map(Self).ok_or_else(|| de::Error::custom("unknown decoder"))
    }
}

impl JsonSchema for DecoderName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DecoderName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "format": DECODER_FORMAT,
            "type": "string",
            "anyOf": [{ "enum": decoder_names() }, { "pattern": format!("^{LOCAL_DECODER_PREFIX}.+$") }],
        })
    }
}

/// IP address and port.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenAddress(pub(super) SocketAddr);

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SocketAddr::deserialize(deserializer).map(Self)
    }
}

impl serde::Serialize for ListenAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for ListenAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ListenAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "format": SOCKET_ADDRESS_FORMAT, "type": "string" })
    }
}

/// Names of the decoders that take no time zone.
fn decoder_names() -> [&'static str; Decoder::ALL.len()] {
    Decoder::ALL.map(Decoder::name)
}

fn describe_decoder() -> String {
    let names = decoder_names().join("\", \"");
    format!("one of \"{names}\", or \"{LOCAL_DECODER_PREFIX}ZONE\" with a time zone such as America/New_York")
}

fn check_decoder(text: &str) -> Result<(), String> {
    match Decoder::parse(text) {
        Some(_) => Ok(()),
        None if text.starts_with(LOCAL_DECODER_PREFIX) => Err("; unknown time zone".into()),
        None => Err(did_you_mean(text, decoder_names().into_iter())),
    }
}

fn describe_address() -> String {
    "IP address and port, such as \"127.0.0.1:9797\"".into()
}

fn check_address(text: &str) -> Result<(), String> {
    text.parse::<SocketAddr>().map(drop).map_err(|_| String::new())
}
