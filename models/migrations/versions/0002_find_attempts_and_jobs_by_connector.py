"""Find attempts that ended lately, and jobs that wait for their time, by connector"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ENDED, SCHEDULED = sa.text("finished_at IS NOT NULL"), sa.text("state = 3")


def upgrade() -> None:
    columns = ["connector_id", "outcome", "finished_at"]
    op.create_index("ix_attempt_finished", "attempt", columns, sqlite_where=ENDED, postgresql_where=ENDED)
    columns = ["lane_id", "priority"]
    op.create_index("ix_job_scheduled_lane", "job", columns, sqlite_where=SCHEDULED, postgresql_where=SCHEDULED)


def downgrade() -> None:
    op.drop_index("ix_job_scheduled_lane", "job")
    op.drop_index("ix_attempt_finished", "attempt")
