"""Everything of the first release"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counter",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("oldest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_counter")),
    )
    op.create_table(
        "organization",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization")),
    )
    op.create_table(
        "receipt",
        sa.Column("connector_id", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=40), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("failure", JSON, nullable=True),
        sa.Column("detail", sa.String(length=1000), nullable=True),
        sa.Column("raw", JSON, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("connector_id", "event_id", name=op.f("pk_receipt")),
    )
    with op.batch_alter_table("receipt", schema=None) as batch_op:
        batch_op.create_index("ix_receipt_external", ["connector_id", "external_id"], unique=False)
        batch_op.create_index(
            "ix_receipt_parked",
            ["received_at"],
            unique=False,
            sqlite_where=sa.text("message_id IS NULL"),
            postgresql_where=sa.text("message_id IS NULL"),
        )

    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_table(
        "workspace",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("will_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_workspace_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
        sa.UniqueConstraint("name", name=op.f("uq_workspace_name")),
    )
    op.create_table(
        "batch",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("already_accepted", sa.Integer(), nullable=False),
        sa.Column("channels", sa.String(length=200), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_batch_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
    )
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.create_index("uq_batch_idempotency_key", ["workspace_id", "idempotency_key"], unique=True)

    op.create_table(
        "connector",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.String(length=2000), nullable=True),
        sa.Column("channel_type", sa.String(length=20), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("template_ref", sa.String(length=80), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("conversational", sa.Boolean(), nullable=True),
        sa.Column("region", sa.String(length=80), nullable=True),
        sa.Column("routing_key", sa.String(length=80), nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("secrets", JSON, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("config_revision", sa.Integer(), nullable=False),
        sa.Column("config_updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("channel_id", sa.String(length=40), nullable=False),
        sa.Column("identifier", sa.String(length=320), nullable=True),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("component_status", sa.String(length=20), nullable=False),
        sa.Column("status_error", sa.String(length=1000), nullable=True),
        sa.Column("status_updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checks", JSON, nullable=True),
        sa.Column("checks_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("circuit", sa.String(length=20), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_connector_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connector")),
    )
    with op.batch_alter_table("connector", schema=None) as batch_op:
        batch_op.create_index(
            "ix_connector_check_due",
            ["check_due_at"],
            unique=False,
            sqlite_where=sa.text("check_due_at IS NOT NULL"),
            postgresql_where=sa.text("check_due_at IS NOT NULL"),
        )
        batch_op.create_index("ix_connector_priority", ["workspace_id", "priority", "created_at", "id"], unique=False)
        batch_op.create_index("uq_connector_idempotency_key", ["workspace_id", "idempotency_key"], unique=True)
        batch_op.create_index(
            "uq_connector_name",
            ["workspace_id", "channel_type", "name"],
            unique=True,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.create_index("uq_connector_routing_key", ["workspace_id", "routing_key"], unique=True)

    op.create_table(
        "event",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("connector_id", sa.String(length=40), nullable=True),
        sa.Column("channel_type", sa.String(length=20), nullable=True),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_event_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("workspace_id", "seq", name=op.f("pk_event")),
        sa.UniqueConstraint("id", name=op.f("uq_event_id")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("ix_event_subject", ["workspace_id", "subject_id", "seq"], unique=False)

    op.create_table(
        "lane",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("per_second", sa.Double(), nullable=True),
        sa.Column("burst", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("tokens_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bulk_paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["id"], ["connector.id"], name=op.f("fk_lane_id_connector")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lane")),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("channel_type", sa.String(length=20), nullable=False),
        sa.Column("flow", sa.String(length=20), nullable=False),
        sa.Column("priority", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=True),
        sa.Column("sender_id", sa.String(length=40), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("template", JSON, nullable=True),
        sa.Column("media", JSON, nullable=False),
        sa.Column("metadata", JSON, nullable=True),
        sa.Column("client_reference", sa.String(length=255), nullable=True),
        sa.Column("external_id", sa.String(length=255), nullable=True),
        sa.Column("batch_id", sa.String(length=40), nullable=True),
        sa.Column("connector_id", sa.String(length=40), nullable=True),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("fallbacks", JSON, nullable=False),
        sa.Column("fallback_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("route", JSON, nullable=False),
        sa.Column("encoding", sa.String(length=10), nullable=True),
        sa.Column("segments", sa.Integer(), nullable=True),
        sa.Column("failure", JSON, nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_hash", sa.String(length=64), nullable=True),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("redacted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["connector_id"], ["connector.id"], name=op.f("fk_message_connector_id_connector")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_message_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index("ix_message_batch", ["workspace_id", "batch_id", "id"], unique=False)
        batch_op.create_index("ix_message_connector", ["workspace_id", "connector_id", "id"], unique=False)
        batch_op.create_index("ix_message_external", ["connector_id", "external_id"], unique=False)
        batch_op.create_index(
            "ix_message_fallback",
            ["fallback_at"],
            unique=False,
            sqlite_where=sa.text("fallback_at IS NOT NULL"),
            postgresql_where=sa.text("fallback_at IS NOT NULL"),
        )
        batch_op.create_index("ix_message_list", ["workspace_id", "id"], unique=False)
        batch_op.create_index("ix_message_reference", ["workspace_id", "client_reference"], unique=False)
        batch_op.create_index("ix_message_status", ["workspace_id", "status", "id"], unique=False)
        batch_op.create_index("uq_message_idempotency_key", ["workspace_id", "idempotency_key"], unique=True)

    op.create_table(
        "attempt",
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("connector_id", sa.String(length=40), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("external_id", sa.String(length=255), nullable=True),
        sa.Column("provider_status", sa.Integer(), nullable=True),
        sa.Column("exchange", JSON, nullable=True),
        sa.Column("failure", JSON, nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_attempt_message_id_message")),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_attempt")),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_external", ["connector_id", "external_id"], unique=False)
        batch_op.create_index(
            "ix_attempt_finished",
            ["connector_id", "outcome", "finished_at"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )
        batch_op.create_index("ix_attempt_workspace", ["workspace_id", "message_id"], unique=False)

    op.create_table(
        "job",
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("lane_id", sa.String(length=40), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=60), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_job_message_id_message")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_job")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(
            "ix_job_expires",
            ["expires_at"],
            unique=False,
            sqlite_where=sa.text("expires_at IS NOT NULL"),
            postgresql_where=sa.text("expires_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_job_leased",
            ["lane_id", "lease_until"],
            unique=False,
            sqlite_where=sa.text("state = 1"),
            postgresql_where=sa.text("state = 1"),
        )
        batch_op.create_index(
            "ix_job_ready",
            ["lane_id", "priority", "message_id"],
            unique=False,
            sqlite_where=sa.text("state = 0"),
            postgresql_where=sa.text("state = 0"),
        )
        batch_op.create_index(
            "ix_job_scheduled",
            ["run_at"],
            unique=False,
            sqlite_where=sa.text("state = 3"),
            postgresql_where=sa.text("state = 3"),
        )
        batch_op.create_index(
            "ix_job_scheduled_lane",
            ["lane_id", "priority"],
            unique=False,
            sqlite_where=sa.text("state = 3"),
            postgresql_where=sa.text("state = 3"),
        )


def downgrade() -> None:
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index("ix_job_scheduled_lane", sqlite_where=sa.text("state = 3"), postgresql_where=sa.text("state = 3"))
        batch_op.drop_index("ix_job_scheduled", sqlite_where=sa.text("state = 3"), postgresql_where=sa.text("state = 3"))
        batch_op.drop_index("ix_job_ready", sqlite_where=sa.text("state = 0"), postgresql_where=sa.text("state = 0"))
        batch_op.drop_index("ix_job_leased", sqlite_where=sa.text("state = 1"), postgresql_where=sa.text("state = 1"))
        batch_op.drop_index(
            "ix_job_expires", sqlite_where=sa.text("expires_at IS NOT NULL"), postgresql_where=sa.text("expires_at IS NOT NULL")
        )

    op.drop_table("job")
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_index("ix_attempt_workspace")
        batch_op.drop_index(
            "ix_attempt_finished",
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_attempt_external")

    op.drop_table("attempt")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index("uq_message_idempotency_key")
        batch_op.drop_index("ix_message_status")
        batch_op.drop_index("ix_message_reference")
        batch_op.drop_index("ix_message_list")
        batch_op.drop_index(
            "ix_message_fallback",
            sqlite_where=sa.text("fallback_at IS NOT NULL"),
            postgresql_where=sa.text("fallback_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_message_external")
        batch_op.drop_index("ix_message_connector")
        batch_op.drop_index("ix_message_batch")

    op.drop_table("message")
    op.drop_table("lane")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("ix_event_subject")

    op.drop_table("event")
    with op.batch_alter_table("connector", schema=None) as batch_op:
        batch_op.drop_index("uq_connector_routing_key")
        batch_op.drop_index(
            "uq_connector_name", sqlite_where=sa.text("deleted_at IS NULL"), postgresql_where=sa.text("deleted_at IS NULL")
        )
        batch_op.drop_index("uq_connector_idempotency_key")
        batch_op.drop_index("ix_connector_priority")
        batch_op.drop_index(
            "ix_connector_check_due",
            sqlite_where=sa.text("check_due_at IS NOT NULL"),
            postgresql_where=sa.text("check_due_at IS NOT NULL"),
        )

    op.drop_table("connector")
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.drop_index("uq_batch_idempotency_key")

    op.drop_table("batch")
    op.drop_table("workspace")
    op.drop_table("worker")
    with op.batch_alter_table("receipt", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_receipt_parked", sqlite_where=sa.text("message_id IS NULL"), postgresql_where=sa.text("message_id IS NULL")
        )
        batch_op.drop_index("ix_receipt_external")

    op.drop_table("receipt")
    op.drop_table("organization")
    op.drop_table("counter")
