"""The tables, as migrations that the service applies itself.

Append only: what was released stays as it is. `{serial}` is a growing key in the dialect of the
database. Booleans are 0 or 1, times are seconds since the epoch unless they end in `_at`.
"""

from __future__ import annotations

# What the first release created without keeping count; its databases are taken over as they are.
FIRST_LIGHT = """
CREATE TABLE IF NOT EXISTS vehicles (
  vin VARCHAR(17) PRIMARY KEY, battery_percent INTEGER NOT NULL, range_km INTEGER NOT NULL,
  locked BOOLEAN NOT NULL, climate_on BOOLEAN NOT NULL, charging BOOLEAN NOT NULL,
  odometer_km INTEGER NOT NULL, software_version VARCHAR(32) NOT NULL);
CREATE TABLE IF NOT EXISTS commands (
  id VARCHAR(128) PRIMARY KEY, vin VARCHAR(17) NOT NULL, command VARCHAR(16) NOT NULL,
  state VARCHAR(16) NOT NULL, updated_at_seconds DOUBLE PRECISION NOT NULL);
CREATE INDEX IF NOT EXISTS commands_by_vehicle ON commands (vin, updated_at_seconds);
CREATE TABLE IF NOT EXISTS reservations (
  id VARCHAR(36) PRIMARY KEY, idempotency_key VARCHAR(128) NOT NULL UNIQUE,
  fingerprint VARCHAR(64) NOT NULL, model VARCHAR(64) NOT NULL, created_at VARCHAR(32) NOT NULL)
"""

# Cars get owners and columns of their own; what the fleet was is told anew by its seed.
OWNERS_AND_FEATURES = """
DROP TABLE vehicles;
CREATE TABLE owners (
  id BIGINT PRIMARY KEY, email TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL);
CREATE TABLE vehicles (
  vin TEXT PRIMARY KEY, owner_id BIGINT NOT NULL, name TEXT NOT NULL,
  battery_percent INTEGER NOT NULL, range_km INTEGER NOT NULL,
  latitude DOUBLE PRECISION NOT NULL, longitude DOUBLE PRECISION NOT NULL,
  locked INTEGER NOT NULL, climate_on INTEGER NOT NULL, charging INTEGER NOT NULL,
  valet_mode INTEGER NOT NULL, charge_limit_percent INTEGER NOT NULL,
  charging_schedule TEXT NOT NULL, odometer_km INTEGER NOT NULL, software_version TEXT NOT NULL,
  reported_unix DOUBLE PRECISION NOT NULL);
CREATE INDEX vehicles_by_owner ON vehicles (owner_id);
DROP INDEX commands_by_vehicle;
ALTER TABLE commands RENAME TO commands_before_owners;
CREATE TABLE commands (
  id TEXT PRIMARY KEY, vin TEXT NOT NULL, command TEXT NOT NULL, arguments TEXT NOT NULL,
  state TEXT NOT NULL, created_unix DOUBLE PRECISION NOT NULL,
  updated_unix DOUBLE PRECISION NOT NULL);
INSERT INTO commands
  SELECT id, vin, command, '', state, updated_at_seconds, updated_at_seconds
  FROM commands_before_owners;
DROP TABLE commands_before_owners;
CREATE INDEX commands_by_time ON commands (created_unix);
ALTER TABLE reservations RENAME TO reservations_before_owners;
CREATE TABLE reservations (
  id TEXT PRIMARY KEY, owner_id BIGINT NOT NULL, idempotency_key TEXT NOT NULL UNIQUE,
  fingerprint TEXT NOT NULL, model TEXT NOT NULL, created_at TEXT NOT NULL,
  created_unix DOUBLE PRECISION NOT NULL);
INSERT INTO reservations
  SELECT id, -1, idempotency_key, fingerprint, model, created_at, 0
  FROM reservations_before_owners;
DROP TABLE reservations_before_owners;
CREATE INDEX reservations_by_time ON reservations (created_unix);
CREATE INDEX reservations_by_owner ON reservations (owner_id, created_unix);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, owner_id BIGINT NOT NULL, expires_unix DOUBLE PRECISION NOT NULL,
  ended INTEGER NOT NULL);
CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE charging_sessions (
  id TEXT PRIMARY KEY, idempotency_key TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL,
  owner_id BIGINT NOT NULL, charger_id TEXT NOT NULL, vin TEXT NOT NULL, state TEXT NOT NULL,
  created_at TEXT NOT NULL, created_unix DOUBLE PRECISION NOT NULL);
CREATE INDEX charging_sessions_by_time ON charging_sessions (created_unix, id);
CREATE TABLE appointments (
  id TEXT PRIMARY KEY, idempotency_key TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL,
  owner_id BIGINT NOT NULL, vin TEXT NOT NULL, starts_at TEXT NOT NULL, concern TEXT NOT NULL,
  created_at TEXT NOT NULL, created_unix DOUBLE PRECISION NOT NULL);
CREATE INDEX appointments_by_owner ON appointments (owner_id, created_unix);
CREATE INDEX appointments_by_time ON appointments (created_unix, id);
CREATE TABLE software_updates (
  vin TEXT PRIMARY KEY, version TEXT NOT NULL, starts_unix DOUBLE PRECISION NOT NULL);
CREATE TABLE notifications (
  id {serial}, owner_id BIGINT, kind TEXT NOT NULL, title TEXT NOT NULL,
  created_at TEXT NOT NULL, created_unix DOUBLE PRECISION NOT NULL);
CREATE INDEX notifications_by_owner ON notifications (owner_id, id);
CREATE INDEX notifications_by_time ON notifications (created_unix);
CREATE TABLE maintenance_windows (
  id TEXT PRIMARY KEY, starts_unix DOUBLE PRECISION NOT NULL, ends_unix DOUBLE PRECISION NOT NULL,
  sentence TEXT NOT NULL, open_classes TEXT NOT NULL, ends_by_itself INTEGER NOT NULL,
  ended INTEGER NOT NULL)
"""

MIGRATIONS = (FIRST_LIGHT, OWNERS_AND_FEATURES)
