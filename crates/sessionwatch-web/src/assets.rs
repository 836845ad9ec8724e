//! Static files of the dashboard. Each is served under a name with a hash of its contents, so that browsers can keep it
//! for good.

use std::{io::Write as _, sync::LazyLock};

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use sessionwatch_app::app::AppError;
use sha2::{Digest as _, Sha256};

use super::{params::PagePath, web_error::WebError};

/// Hexadecimal digits of the hash in a file name: enough to distinguish the versions of one file.
const HASH_DIGITS: usize = 12;
/// A year; the name changes with the contents.
const IMMUTABLE_CACHE: &str = "public, max-age=31536000, immutable";

/// A static file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asset {
    /// Design tokens and components.
    Stylesheet,
    /// Chooses the theme before the page is painted.
    ThemeScript,
    /// Live updates, search and copy buttons.
    AppScript,
    /// Charts with hover and zoom.
    ChartScript,
    /// Styles of these charts.
    ChartStylesheet,
    /// Icons.
    Sprite,
    /// Icon of the browser tab.
    Favicon,
}

const ALL_ASSETS: [Asset; 7] = [
    Asset::Stylesheet,
    Asset::ThemeScript,
    Asset::AppScript,
    Asset::ChartScript,
    Asset::ChartStylesheet,
    Asset::Sprite,
    Asset::Favicon,
];

/// A file as it is served.
struct ServedAsset {
    url: String,
    content_type: &'static str,
    text: &'static str,
    gzip: Vec<u8>,
}

static SERVED_ASSETS: LazyLock<Vec<ServedAsset>> =
    LazyLock::new(|| ALL_ASSETS.into_iter().map(Asset::prepare).collect());

impl Asset {
    /// Returns the path under which the file is served.
    pub(super) fn url(self) -> &'static str {
        // The list has one entry per variant, in their order.
        &SERVED_ASSETS[self as usize].url
    }

    fn stem_and_extension(self) -> [&'static str; 2] {
        match self {
            Self::Stylesheet => ["app", "css"],
            Self::ThemeScript => ["theme", "js"],
            Self::AppScript => ["app", "js"],
            Self::ChartScript => ["chart", "js"],
            Self::ChartStylesheet => ["chart", "css"],
            Self::Sprite => ["icons", "svg"],
            Self::Favicon => ["favicon", "svg"],
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Stylesheet => {
                concat!(
                    include_str!("assets/tokens.css"),
                    include_str!("assets/components.css"),
                    include_str!("assets/pages.css"),
                    include_str!("assets/pages/overview.css"),
                    include_str!("assets/pages/alerts.css"),
                    include_str!("assets/pages/sessions.css"),
                    include_str!("assets/pages/incidents.css"),
                    include_str!("assets/pages/cleanup.css"),
                    include_str!("assets/pages/settings.css")
                )
            }
            Self::ThemeScript => include_str!("assets/theme.js"),
            Self::AppScript => include_str!("assets/app.js"),
            Self::ChartScript => {
                concat!(include_str!("assets/vendor/uPlot.iife.min.js"), include_str!("assets/chart.js"))
            }
            Self::ChartStylesheet => include_str!("assets/vendor/uPlot.min.css"),
            Self::Sprite => include_str!("assets/sprite.svg"),
            Self::Favicon => include_str!("assets/favicon.svg"),
        }
    }

    fn prepare(self) -> ServedAsset {
        let ([stem, extension], text) = (self.stem_and_extension(), self.text());
        let hash = const_hex::encode(Sha256::digest(text));
        let content_type = match extension {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        };
        let mut encoder = GzEncoder::new(vec![], Compression::best());
        // Writing to memory cannot fail; an empty file is served uncompressed.
        let gzip = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        let url = format!("/assets/{stem}-{}.{extension}", &hash[..HASH_DIGITS]);
        ServedAsset { url, content_type, text, gzip }
    }
}

pub(super) async fn serve_asset(PagePath(file): PagePath<String>, headers: HeaderMap) -> Response {
    let found = SERVED_ASSETS.iter().find(|asset| asset.url.strip_prefix("/assets/") == Some(&file));
    let Some(asset) = found else {
        return WebError::from(AppError::NotFound("File not found.".into())).into_response();
    };
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let common = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, IMMUTABLE_CACHE),
        (header::VARY, "accept-encoding"),
    ];
    // Only static files are compressed: pages hold secrets beside text that others choose (BREACH).
    if !asset.gzip.is_empty() && accepted.flat_map(|list| list.split(',')).any(accepts_gzip) {
        return (StatusCode::OK, common, [(header::CONTENT_ENCODING, "gzip")], asset.gzip.as_slice())
            .into_response();
    }
    (StatusCode::OK, common, asset.text).into_response()
}

/// Returns `true` if an entry of `Accept-Encoding` accepts gzip (RFC 9110, 12.5.3).
fn accepts_gzip(entry: &str) -> bool {
    let mut parts = entry.split(';').map(str::trim);
    let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip") || coding == "*");
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f64>);
    is_gzip && weight.is_ok_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_asset_has_a_name_of_its_own_and_is_compressed_losslessly() {
        let mut urls: Vec<&str> = ALL_ASSETS.iter().map(|asset| asset.url()).collect();
        for (asset, served) in ALL_ASSETS.iter().zip(SERVED_ASSETS.iter()) {
            assert_eq!(asset.text(), served.text);
            let mut text = String::new();
            flate2::read::GzDecoder::new(served.gzip.as_slice()).read_to_string(&mut text).unwrap();
            assert_eq!(text, served.text, "{}", served.url);
        }
        urls.sort_unstable();
        urls.dedup();
        assert_eq!(urls.len(), ALL_ASSETS.len());
    }

    #[test]
    fn gzip_is_sent_only_if_it_is_accepted() {
        for (entry, accepted) in [
            ("gzip", true),
            (" GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(entry), accepted, "{entry}");
        }
    }
}
