"""Making many tables that refer to each other, at once."""

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddField, CreateModel
from django.db.migrations.state import ProjectState


class AtOnce(migrations.Migration):
    """Makes every table as it is at the migration's end, with the same result as one by one.

    Django renders all models that a new one is related to after each operation, which for dj-stripe's
    takes longer than everything else of `migrate`; so all are taken in first, and rendered once.
    """

    def apply(
        self,
        project_state: ProjectState,
        schema_editor: BaseDatabaseSchemaEditor,
        collect_sql: bool = False,
    ) -> ProjectState:
        # Rendered models are a cache: what is not there is not kept up to date at each step.
        vars(project_state).pop("apps", None)
        made: list[CreateModel] = []
        for operation in self.operations:
            operation.state_forwards(self.app_label, project_state)
            if isinstance(operation, CreateModel):
                made.append(operation)
            else:
                _is_of_a_new_table(operation, {model.name_lower for model in made})
        for model in made:
            model.database_forwards(self.app_label, schema_editor, project_state, project_state)
        return project_state


def _is_of_a_new_table(operation: Any, new: set[str]) -> None:
    if not isinstance(operation, AddField) or operation.model_name_lower not in new:
        raise NotImplementedError(f"{operation.describe()}: only new tables are made at once")
