use tidemark_workload::encode::{CivilTime, Collation, Datum, Decimal, encode_row};
use tidemark_workload::schema::{ColumnKind, ColumnSpec, IntWidth, PrimaryKey, TableSpec};

/// The database of the measured table.
pub(crate) const DATABASE: &str = "bench";

/// The measured table: ten columns, about 200 B of values a row.
pub(crate) struct Orders(TableSpec);

impl Orders {
    /// The table before it is created.
    pub(crate) fn spec() -> TableSpec {
        let text = |len| ColumnKind::Varchar(len, Collation::Utf8mb4Bin);
        let int = |width| ColumnKind::Int {
            width,
            unsigned: false,
        };
        let columns = vec![
            ColumnSpec::new("id", ColumnKind::bigint()),
            ColumnSpec::new("customer", int(IntWidth::Int)).not_null(),
            ColumnSpec::new("product", ColumnKind::bigint()),
            ColumnSpec::new("quantity", int(IntWidth::Small)),
            ColumnSpec::new(
                "price",
                ColumnKind::Decimal {
                    precision: 12,
                    scale: 2,
                },
            ),
            ColumnSpec::new(
                "status",
                ColumnKind::Enum(["new", "paid", "sent"].map(str::to_owned).into()),
            ),
            ColumnSpec::new("email", text(64)),
            ColumnSpec::new("address", text(128)),
            ColumnSpec::new("created", ColumnKind::Datetime(0)),
            ColumnSpec::new("note", text(128)),
        ];
        TableSpec::new("orders", columns).with_key(PrimaryKey::IntHandle(0))
    }

    /// The table that was created.
    pub(crate) fn new(id: i64) -> Self {
        Self(TableSpec { id, ..Self::spec() })
    }

    pub(crate) fn id(&self) -> i64 {
        self.0.id
    }

    /// The record key of a row.
    pub(crate) fn key(&self, row: u64) -> Vec<u8> {
        self.0.record_key(&[Datum::Int(row.cast_signed())], 0)
    }

    /// Key and value of a row.
    pub(crate) fn row(&self, row: u64) -> (Vec<u8>, Vec<u8>) {
        let digits = |mut number: u64, count: usize| {
            let mut digits = vec![0; count];
            for digit in digits.iter_mut().rev() {
                *digit = (number % 10) as u8;
                number /= 10;
            }
            digits
        };
        let created = CivilTime {
            year: 2026,
            month: 11,
            day: (row % 28) as u8 + 1,
            hour: (row % 24) as u8,
            minute: (row % 60) as u8,
            second: (row / 60 % 60) as u8,
            micro: 0,
        };
        let values = [
            Datum::Int(row.cast_signed()),
            Datum::Int((row % 100_000).cast_signed()),
            Datum::Int(row.wrapping_mul(0x9e37_79b9_7f4a_7c15).cast_signed()),
            Datum::Int((row % 100).cast_signed()),
            Datum::Decimal(Decimal::new(false, digits(row * 7, 10), digits(row, 2))),
            Datum::Mask(row % 3 + 1),
            Datum::Text(format!("customer{row:08}@example.com")),
            Datum::Text(format!(
                "{:05} Some Street, 12345 Some Town, Some Country {row:08}",
                row % 100_000
            )),
            Datum::Time(created),
            Datum::Text("please ring twice and leave it with the neighbours \"next door\"".to_owned()),
        ];
        let key = self.0.record_key(&values, 0);
        let columns: Vec<_> = (0..values.len())
            .filter(|offset| self.0.in_row(*offset))
            .map(|offset| (self.0.columns[offset].id, &values[offset]))
            .collect();
        let value = encode_row(self.0.row_format, &columns, &key, &[]);
        (key, value)
    }
}
