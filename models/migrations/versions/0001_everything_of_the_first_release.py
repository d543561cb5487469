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
        "chore",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chore")),
    )
    op.create_table(
        "counter",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_counter")),
    )
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
        sa.PrimaryKeyConstraint("workspace_id", "seq", name=op.f("pk_event")),
        sa.UniqueConstraint("id", name=op.f("uq_event_id")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("ix_event_subject", ["workspace_id", "subject_id", "seq"], unique=False)

    op.create_table(
        "event_floor",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("oldest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_event_floor")),
    )
    op.create_table(
        "organization",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("whatsapp_phone_number_id", sa.String(length=32), nullable=True),
        sa.Column("whatsapp_access_token", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization")),
        sa.UniqueConstraint("whatsapp_phone_number_id", name=op.f("uq_organization_whatsapp_phone_number_id")),
    )
    op.create_table(
        "receipt",
        sa.Column("connector_id", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=True),
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
            "ix_receipt_message",
            ["message_id"],
            unique=False,
            sqlite_where=sa.text("message_id IS NOT NULL"),
            postgresql_where=sa.text("message_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_receipt_orphans",
            ["workspace_id", "id"],
            unique=False,
            sqlite_where=sa.text("message_id IS NULL"),
            postgresql_where=sa.text("message_id IS NULL"),
        )
        batch_op.create_index(
            "ix_receipt_parked",
            ["received_at"],
            unique=False,
            sqlite_where=sa.text("message_id IS NULL"),
            postgresql_where=sa.text("message_id IS NULL"),
        )
        batch_op.create_index(
            "ix_receipt_referring",
            ["reference"],
            unique=False,
            sqlite_where=sa.text("message_id IS NULL"),
            postgresql_where=sa.text("message_id IS NULL"),
        )
        batch_op.create_index("uq_receipt_id", ["id"], unique=True)

    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("subscription_id", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.String(length=60), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("status_reason", sa.String(length=500), nullable=True),
        sa.Column("attempts", JSON, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    with op.batch_alter_table("webhook_delivery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_webhook_delivery_due",
            ["subscription_id", "due_at"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )
        batch_op.create_index(
            "ix_webhook_delivery_ended",
            ["finished_at"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_webhook_delivery_line",
            ["subscription_id", "subject_id", "event_seq"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )
        batch_op.create_index("ix_webhook_delivery_list", ["workspace_id", "id"], unique=False)
        batch_op.create_index(
            "ix_webhook_delivery_open",
            ["queued_at"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )
        batch_op.create_index("ix_webhook_delivery_subscription", ["workspace_id", "subscription_id", "id"], unique=False)
        batch_op.create_index("uq_webhook_delivery_event", ["subscription_id", "event_id"], unique=True)

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
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_workspace_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
        sa.UniqueConstraint("name", name=op.f("uq_workspace_name")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=20), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=4000), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_api_key_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index("ix_api_key_workspace", ["workspace_id", "id"], unique=False)
        batch_op.create_index("uq_api_key_prefix", ["prefix"], unique=True)

    op.create_table(
        "audit_entry",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=300), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("target_id", sa.String(length=80), nullable=True),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("ip", sa.String(length=45), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_audit_entry_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("workspace_id", "seq", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_entry_id")),
    )
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.create_index("ix_audit_entry_target", ["workspace_id", "target_id", "seq"], unique=False)

    op.create_table(
        "audit_head",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_audit_head_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_audit_head")),
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
        sa.Column("line", JSON, nullable=True),
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
        sa.Column("hook_key", sa.String(length=40), nullable=False),
        sa.Column("inbound_status", sa.String(length=20), nullable=True),
        sa.Column("inbound_error", sa.String(length=1000), nullable=True),
        sa.Column("held_since", sa.DateTime(timezone=True), nullable=True),
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
        "opt_out",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("channel_type", sa.String(length=20), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("keyword", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_opt_out_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opt_out")),
    )
    with op.batch_alter_table("opt_out", schema=None) as batch_op:
        batch_op.create_index("ix_opt_out_list", ["workspace_id", "id"], unique=False)
        batch_op.create_index("uq_opt_out_recipient", ["workspace_id", "channel_type", "recipient"], unique=True)

    op.create_table(
        "sender_id",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("channel_type", sa.String(length=20), nullable=False),
        sa.Column("value", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=20), nullable=False),
        sa.Column("skeleton", sa.String(length=20), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=True),
        sa.Column("use_case", sa.Text(), nullable=True),
        sa.Column("sample_message", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("requested_by", sa.String(length=255), nullable=False),
        sa.Column("updated_by", sa.String(length=255), nullable=False),
        sa.Column("review_note", sa.Text(), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_by", sa.String(length=255), nullable=True),
        sa.Column("rejections", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_sender_id_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sender_id")),
    )
    with op.batch_alter_table("sender_id", schema=None) as batch_op:
        batch_op.create_index("ix_sender_id_list", ["workspace_id", "id"], unique=False)
        batch_op.create_index("ix_sender_id_skeleton", ["skeleton"], unique=False)
        batch_op.create_index(
            "uq_sender_id_key",
            ["workspace_id", "channel_type", "key"],
            unique=True,
            sqlite_where=sa.text("status <> 'REVOKED'"),
            postgresql_where=sa.text("status <> 'REVOKED'"),
        )

    op.create_table(
        "spending",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("viewer", sa.String(length=300), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_spending_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("workspace_id", "viewer", "name", name=op.f("pk_spending")),
    )
    op.create_table(
        "webhook_cursor",
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_webhook_cursor_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_webhook_cursor")),
    )
    op.create_table(
        "webhook_subscription",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("service", sa.String(length=20), nullable=False),
        sa.Column("event", sa.String(length=60), nullable=False),
        sa.Column("event_filters", JSON, nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("naming", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("status_reason", sa.String(length=500), nullable=True),
        sa.Column("signing_keys", JSON, nullable=False),
        sa.Column("since_seq", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rests_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_webhook_subscription_workspace_id_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_subscription")),
    )
    with op.batch_alter_table("webhook_subscription", schema=None) as batch_op:
        batch_op.create_index("ix_webhook_subscription_list", ["workspace_id", "id"], unique=False)

    op.create_table(
        "inbound_message",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("connector_id", sa.String(length=40), nullable=False),
        sa.Column("channel_type", sa.String(length=20), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("media", JSON, nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=True),
        sa.Column("payload", sa.String(length=1000), nullable=True),
        sa.Column("intent", sa.String(length=20), nullable=True),
        sa.Column("keyword", sa.String(length=40), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["connector_id"], ["connector.id"], name=op.f("fk_inbound_message_connector_id_connector")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_inbound_message_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbound_message")),
    )
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.create_index("ix_inbound_message_connector", ["workspace_id", "connector_id", "id"], unique=False)
        batch_op.create_index("ix_inbound_message_list", ["workspace_id", "id"], unique=False)
        batch_op.create_index("uq_inbound_message_event", ["connector_id", "event_id"], unique=True)

    op.create_table(
        "parted_message",
        sa.Column("connector_id", sa.String(length=40), nullable=False),
        sa.Column("part_group", sa.String(length=64), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("parts", JSON, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["connector_id"], ["connector.id"], name=op.f("fk_parted_message_connector_id_connector")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_parted_message_workspace_id_workspace")),
        sa.PrimaryKeyConstraint("connector_id", "part_group", name=op.f("pk_parted_message")),
    )
    with op.batch_alter_table("parted_message", schema=None) as batch_op:
        batch_op.create_index("ix_parted_message_began", ["began_at"], unique=False)

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
        "listener",
        sa.Column("connector_id", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.String(length=40), nullable=False),
        sa.Column("holder", sa.String(length=60), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cursor", sa.String(length=255), nullable=True),
        sa.Column("subscribed", sa.String(length=1000), nullable=True),
        sa.Column("config_revision", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["connector_id"], ["connector.id"], name=op.f("fk_listener_connector_id_connector")),
        sa.PrimaryKeyConstraint("connector_id", name=op.f("pk_listener")),
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
        sa.Column("recipient_mark", sa.String(length=64), nullable=True),
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
        batch_op.create_index(
            "ix_message_mark",
            ["recipient_mark"],
            unique=False,
            sqlite_where=sa.text("recipient_mark IS NOT NULL"),
            postgresql_where=sa.text("recipient_mark IS NOT NULL"),
        )
        batch_op.create_index("ix_message_recipient", ["recipient", "workspace_id"], unique=False)
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
        batch_op.drop_index("ix_message_recipient")
        batch_op.drop_index(
            "ix_message_mark",
            sqlite_where=sa.text("recipient_mark IS NOT NULL"),
            postgresql_where=sa.text("recipient_mark IS NOT NULL"),
        )
        batch_op.drop_index("ix_message_list")
        batch_op.drop_index(
            "ix_message_fallback",
            sqlite_where=sa.text("fallback_at IS NOT NULL"),
            postgresql_where=sa.text("fallback_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_message_external")
        batch_op.drop_index("ix_message_connector")
        batch_op.drop_index("ix_message_batch")

    with op.batch_alter_table("parted_message", schema=None) as batch_op:
        batch_op.drop_index("ix_parted_message_began")

    op.drop_table("parted_message")
    op.drop_table("message")
    op.drop_table("listener")
    op.drop_table("lane")
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.drop_index("uq_inbound_message_event")
        batch_op.drop_index("ix_inbound_message_list")
        batch_op.drop_index("ix_inbound_message_connector")

    op.drop_table("inbound_message")
    with op.batch_alter_table("webhook_subscription", schema=None) as batch_op:
        batch_op.drop_index("ix_webhook_subscription_list")

    op.drop_table("webhook_subscription")
    op.drop_table("webhook_cursor")
    op.drop_table("spending")
    with op.batch_alter_table("sender_id", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_sender_id_key", sqlite_where=sa.text("status <> 'REVOKED'"), postgresql_where=sa.text("status <> 'REVOKED'")
        )
        batch_op.drop_index("ix_sender_id_skeleton")
        batch_op.drop_index("ix_sender_id_list")

    op.drop_table("sender_id")
    with op.batch_alter_table("opt_out", schema=None) as batch_op:
        batch_op.drop_index("uq_opt_out_recipient")
        batch_op.drop_index("ix_opt_out_list")

    op.drop_table("opt_out")
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
    op.drop_table("audit_head")
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_entry_target")

    op.drop_table("audit_entry")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index("uq_api_key_prefix")
        batch_op.drop_index("ix_api_key_workspace")

    op.drop_table("api_key")
    op.drop_table("workspace")
    op.drop_table("worker")
    with op.batch_alter_table("webhook_delivery", schema=None) as batch_op:
        batch_op.drop_index("uq_webhook_delivery_event")
        batch_op.drop_index("ix_webhook_delivery_subscription")
        batch_op.drop_index(
            "ix_webhook_delivery_open",
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )
        batch_op.drop_index("ix_webhook_delivery_list")
        batch_op.drop_index(
            "ix_webhook_delivery_line",
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_webhook_delivery_ended",
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_webhook_delivery_due",
            sqlite_where=sa.text("finished_at IS NULL"),
            postgresql_where=sa.text("finished_at IS NULL"),
        )

    op.drop_table("webhook_delivery")
    with op.batch_alter_table("receipt", schema=None) as batch_op:
        batch_op.drop_index("uq_receipt_id")
        batch_op.drop_index(
            "ix_receipt_referring", sqlite_where=sa.text("message_id IS NULL"), postgresql_where=sa.text("message_id IS NULL")
        )
        batch_op.drop_index(
            "ix_receipt_parked", sqlite_where=sa.text("message_id IS NULL"), postgresql_where=sa.text("message_id IS NULL")
        )
        batch_op.drop_index(
            "ix_receipt_orphans", sqlite_where=sa.text("message_id IS NULL"), postgresql_where=sa.text("message_id IS NULL")
        )
        batch_op.drop_index(
            "ix_receipt_message",
            sqlite_where=sa.text("message_id IS NOT NULL"),
            postgresql_where=sa.text("message_id IS NOT NULL"),
        )
        batch_op.drop_index("ix_receipt_external")

    op.drop_table("receipt")
    op.drop_table("organization")
    op.drop_table("event_floor")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("ix_event_subject")

    op.drop_table("event")
    op.drop_table("counter")
    op.drop_table("chore")
