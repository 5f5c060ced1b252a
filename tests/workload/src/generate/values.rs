use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use super::config::ValueSizes;
use crate::encode::{CivilTime, Datum, Decimal, Json, truncate_micros};
use crate::schema::{ColumnKind, ColumnSpec, IntWidth, LobSize};

const SECOND: i64 = 1_000_000_000;
/// TIME's bounds are plus and minus this many seconds.
const TIME_LIMIT: i64 = 838 * 3600 + 59 * 60 + 59;
/// Pieces of text that trip careless encoders.
const FRAGMENTS: &[&str] = &[
    "plain", " ", "\t", "\n", "\r\n", "\"", "'", "\\", "\\N", ",", "<&>", "\u{0}", "\u{1f}", "\u{7f}", "é",
    "ß", "中文", "😀", "\u{2028}", "NULL", "\u{feff}", "Ωmega", "{}", "%s", "\u{301}",
];

/// A value for the column: often an edge of its type, sometimes NULL where that is allowed.
pub fn random_value(rng: &mut StdRng, column: &ColumnSpec, sizes: &ValueSizes) -> Datum {
    if !column.not_null && rng.random_ratio(1, 10) {
        return Datum::Null;
    }
    let edge = rng.random_ratio(1, 8);
    match &column.kind {
        ColumnKind::Int {
            width,
            unsigned: true,
        } => {
            let max = u64::MAX >> (64 - width.bits());
            Datum::UInt(match rng.random_range(0..3) {
                0 if edge => max,
                1 if edge => max / 2 + 1,
                _ if edge => 0,
                _ => rng.random::<u64>() >> rng.random_range(0..64) & max,
            })
        }
        ColumnKind::Int { width, .. } => {
            let max = i64::MAX >> (64 - width.bits());
            Datum::Int(match rng.random_range(0..3) {
                0 if edge => max,
                1 if edge => -max - 1,
                _ if edge => 0,
                _ => {
                    let shift = rng.random_range(0..width.bits());
                    rng.random_range(-(max >> shift) - 1..=max >> shift)
                }
            })
        }
        ColumnKind::Float => Datum::Float(random_float(rng, edge)),
        ColumnKind::Double => Datum::Double(random_double(rng, edge)),
        ColumnKind::Decimal { precision, scale } => random_decimal(rng, *precision, *scale, edge),
        ColumnKind::Char(len, _) => Datum::Text(
            random_text(rng, (*len as usize).min(sizes.usual))
                .trim_end()
                .to_owned(),
        ),
        ColumnKind::Varchar(len, _) => Datum::Text(random_text(rng, (*len as usize).min(sizes.usual))),
        ColumnKind::Text(size, _) => {
            let max = lob_len(rng, *size, sizes);
            Datum::Text(random_text(rng, max))
        }
        ColumnKind::Binary(len) => {
            let mut bytes = random_bytes(rng, (*len as usize).min(sizes.usual));
            bytes.resize(*len as usize, 0);
            Datum::Bytes(bytes)
        }
        ColumnKind::Varbinary(len) => Datum::Bytes(random_bytes(rng, (*len as usize).min(sizes.usual))),
        ColumnKind::Blob(size) => {
            let max = lob_len(rng, *size, sizes);
            Datum::Bytes(random_bytes(rng, max))
        }
        ColumnKind::Date => Datum::Time(random_time(rng, edge, 1..=9999, None)),
        ColumnKind::Datetime(fsp) => Datum::Time(random_time(rng, edge, 1..=9999, Some(*fsp))),
        ColumnKind::Timestamp(fsp) => Datum::Time(random_time(rng, edge, 1971..=2037, Some(*fsp))),
        ColumnKind::Time(fsp) => {
            let seconds = match rng.random_range(0..2) {
                0 if edge => TIME_LIMIT,
                1 if edge => -TIME_LIMIT,
                _ => rng.random_range(-TIME_LIMIT..=TIME_LIMIT),
            };
            let whole = seconds.abs() == TIME_LIMIT;
            let micros = if whole {
                0
            } else {
                truncate_micros(rng.random_range(0..1_000_000), *fsp)
            };
            Datum::Duration(seconds * SECOND + i64::from(micros) * 1000 * seconds.signum())
        }
        ColumnKind::Year => Datum::Int(if edge { 0 } else { rng.random_range(1901..=2155) }),
        ColumnKind::Bit(width) => {
            let max = u64::MAX >> (64 - u32::from(*width));
            Datum::Mask(if edge { max } else { rng.random::<u64>() & max })
        }
        ColumnKind::Enum(members) => Datum::Mask(rng.random_range(u64::from(!edge)..=members.len() as u64)),
        ColumnKind::Set(members) => Datum::Mask(rng.random_range(0..1_u64 << members.len())),
        ColumnKind::Json => Datum::Json(random_json(rng, 3)),
        ColumnKind::Vector(dimension) => {
            let count = dimension.map_or_else(|| rng.random_range(0..8), usize::from);
            Datum::Vector((0..count).map(|_| random_float(rng, edge)).collect())
        }
    }
}

/// A value of a key column that no other identity has, nor under its collation.
pub fn key_value(kind: &ColumnKind, identity: u64) -> Datum {
    let half = (identity / 2).cast_signed();
    let signed = if identity.is_multiple_of(2) {
        half
    } else {
        -half - 1
    };
    match kind {
        ColumnKind::Int {
            unsigned: true,
            width: IntWidth::Big,
        } => Datum::UInt(match identity {
            1 => u64::MAX,
            2 => 1 << 63,
            3 => (1 << 63) - 1,
            other => other,
        }),
        ColumnKind::Int { unsigned: true, .. } => Datum::UInt(identity),
        ColumnKind::Int { width, .. } => Datum::Int(match identity {
            1 if *width == IntWidth::Big => i64::MAX,
            3 if *width == IntWidth::Big => i64::MIN,
            _ => signed,
        }),
        ColumnKind::Decimal { precision, scale } => {
            let whole = usize::from(precision - scale);
            let digits = format!("{:0>whole$}", identity / 2);
            let digits = digits.bytes().map(|digit| digit - b'0').collect();
            Datum::Decimal(Decimal::new(
                !identity.is_multiple_of(2),
                digits,
                vec![5; usize::from(*scale)],
            ))
        }
        ColumnKind::Binary(len) => {
            let mut bytes = identity.to_be_bytes()[2..].to_vec();
            bytes.resize(*len as usize, 0);
            Datum::Bytes(bytes)
        }
        ColumnKind::Varbinary(_) => Datum::Bytes(identity.to_be_bytes()[4..].to_vec()),
        ColumnKind::Date | ColumnKind::Datetime(_) | ColumnKind::Timestamp(_) => Datum::Time(CivilTime {
            year: 1990 + (identity / 28 / 12 % 47) as u16,
            month: (identity / 28 % 12) as u8 + 1,
            day: (identity % 28) as u8 + 1,
            ..CivilTime::default()
        }),
        ColumnKind::Char(..) => Datum::Text(format!("Ca-É{identity}")),
        _ => {
            // Trailing spaces vanish from keys and must come from the row.
            let tail = ["", " ", "", "   ", "é"][(identity % 5) as usize];
            Datum::Text(format!("Key ñ中 {identity}{tail}"))
        }
    }
}

fn lob_len(rng: &mut StdRng, size: LobSize, sizes: &ValueSizes) -> usize {
    let limit = match size {
        LobSize::Tiny => 255,
        LobSize::Normal => 65_535,
        LobSize::Medium | LobSize::Long => usize::MAX,
    };
    let large = size != LobSize::Tiny && rng.random_ratio(sizes.large_share.min(1000), 1000);
    if large {
        rng.random_range(sizes.usual.min(sizes.large)..=sizes.large)
            .min(limit)
    } else {
        sizes.usual.min(limit)
    }
}

/// Text of at most so many bytes, which are no fewer than its characters.
pub(super) fn random_text(rng: &mut StdRng, max: usize) -> String {
    let target = if max > 1000 {
        max
    } else {
        rng.random_range(0..=max)
    };
    let mut text = String::with_capacity(target);
    while text.len() < target {
        let piece = if rng.random_ratio(1, 4) {
            FRAGMENTS[rng.random_range(0..FRAGMENTS.len())]
        } else {
            "abcdefghijklmnopqrstuvwxyz0123456789"
        };
        let start = if piece.len() == 36 {
            rng.random_range(0..30)
        } else {
            0
        };
        let piece = if piece.len() == 36 {
            &piece[start..start + 6]
        } else {
            piece
        };
        if text.len() + piece.len() > target {
            break;
        }
        text.push_str(piece);
    }
    text
}

pub(super) fn random_bytes(rng: &mut StdRng, max: usize) -> Vec<u8> {
    let len = if max > 1000 {
        max
    } else {
        rng.random_range(0..=max)
    };
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes[..]);
    bytes
}

fn random_float(rng: &mut StdRng, edge: bool) -> f32 {
    const EDGES: [f32; 6] = [0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 16_777_217.0];
    if edge {
        EDGES[rng.random_range(0..EDGES.len())]
    } else {
        rng.random_range(-1e6..1e6)
    }
}

fn random_double(rng: &mut StdRng, edge: bool) -> f64 {
    const EDGES: [f64; 8] = [
        0.0,
        -0.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        0.1,
        9_007_199_254_740_993.0,
    ];
    if edge {
        EDGES[rng.random_range(0..EDGES.len())]
    } else {
        rng.random_range(-1e12..1e12)
    }
}

fn random_decimal(rng: &mut StdRng, precision: u8, scale: u8, edge: bool) -> Datum {
    let nines = edge && rng.random();
    let mut digits: Vec<u8> = (0..precision)
        .map(|_| {
            if nines {
                9
            } else if edge {
                0
            } else {
                rng.random_range(0..10)
            }
        })
        .collect();
    if !edge {
        let zeros = rng.random_range(0..=precision - scale);
        digits[..usize::from(zeros)].fill(0);
    }
    let fraction = digits.split_off(usize::from(precision - scale));
    Datum::Decimal(Decimal::new(rng.random(), digits, fraction))
}

fn random_time(
    rng: &mut StdRng,
    edge: bool,
    years: std::ops::RangeInclusive<u16>,
    fsp: Option<u8>,
) -> CivilTime {
    if edge && rng.random() {
        return CivilTime::default();
    }
    let date = CivilTime {
        year: if edge {
            *years.end()
        } else {
            rng.random_range(years)
        },
        month: rng.random_range(1..=12),
        day: rng.random_range(1..=28),
        ..CivilTime::default()
    };
    let Some(fsp) = fsp else {
        return date;
    };
    CivilTime {
        hour: rng.random_range(0..24),
        minute: rng.random_range(0..60),
        second: rng.random_range(0..60),
        micro: truncate_micros(
            if edge {
                999_999
            } else {
                rng.random_range(0..1_000_000)
            },
            fsp,
        ),
        ..date
    }
}

fn random_json(rng: &mut StdRng, depth: u32) -> Json {
    let kinds = if depth == 0 { 9 } else { 13 };
    match rng.random_range(0..kinds) {
        0 => Json::Null,
        1 => Json::Bool(rng.random()),
        2 => Json::Int(rng.random::<i64>() >> rng.random_range(0..64)),
        3 => Json::UInt(u64::MAX - rng.random_range(0..1000)),
        4 => Json::Double([0.5, 4.0, 1e15, -2.5e-16, 1e-7, 123_456.789][rng.random_range(0..6)]),
        5 => Json::Datetime(random_time(rng, false, 1..=9999, Some(6))),
        6 => Json::Time(rng.random_range(-TIME_LIMIT..TIME_LIMIT) * SECOND, 0),
        7 => Json::Opaque(252, random_bytes(rng, 12)),
        8 => Json::Text(random_text(rng, 200)),
        9 | 10 => Json::Array(
            (0..rng.random_range(0..4))
                .map(|_| random_json(rng, depth - 1))
                .collect(),
        ),
        _ => {
            let members =
                (0..rng.random_range(0..5)).map(|_| (random_text(rng, 10), random_json(rng, depth - 1)));
            Json::Object(members.collect::<BTreeMap<_, _>>())
        }
    }
}
