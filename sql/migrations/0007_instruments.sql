-- Reference data of instruments: what people search by, and what a chart or an order needs to know of them. What names
-- say by themselves is generated from the id.

ALTER TABLE md.instruments
    ADD COLUMN base        text GENERATED ALWAYS AS (split_part(split_part(id, ':', 2), '-', 1)) STORED,
    ADD COLUMN quote       text GENERATED ALWAYS AS (nullif(nullif(split_part(split_part(id, ':', 2), '-', 2), ''), 'PERP')) STORED,
    ADD COLUMN name        text NOT NULL DEFAULT '',
    ADD COLUMN asset_class text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN tags        text[] NOT NULL DEFAULT '{}',
    ADD COLUMN status      text COLLATE "C" NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'delisted')),
    ADD COLUMN listed_at   timestamptz,
    ADD COLUMN delisted_at timestamptz,
    ADD COLUMN tick_size   double precision CHECK (tick_size > 0),
    ADD COLUMN lot_size    double precision CHECK (lot_size > 0);

COMMENT ON COLUMN md.instruments.base IS 'What is traded';
COMMENT ON COLUMN md.instruments.quote IS 'What it is paid in; null where the id does not say, as of stocks';
COMMENT ON COLUMN md.instruments.name IS 'In words; empty where nobody gave one';
COMMENT ON COLUMN md.instruments.asset_class IS 'crypto, perpetual, stock, forex, ...; empty: what the id suggests';
COMMENT ON COLUMN md.instruments.tags IS 'Words to find it by';
COMMENT ON COLUMN md.instruments.status IS 'active or delisted; what is delisted keeps its data';
COMMENT ON COLUMN md.instruments.listed_at IS 'When it began to trade, UTC; null where unknown';
COMMENT ON COLUMN md.instruments.delisted_at IS 'When it ceased to trade, UTC; null while it trades';
COMMENT ON COLUMN md.instruments.tick_size IS 'Smallest step of its price, quote currency; null where unknown';
COMMENT ON COLUMN md.instruments.lot_size IS 'Smallest step of its amount, base currency; null where unknown';
