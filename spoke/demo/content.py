"""What the demo organizations consist of. Fixed, so that every run seeds the same."""

from dataclasses import dataclass

PASSWORD = "spoke-demo-2026"  # noqa: S105 - development only, the command refuses production


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in; `role` is theirs in the first organization, empty for outsiders."""

    key: str
    email: str
    name: str
    role: str = ""
    is_staff: bool = False


OWNER = Person("OWNER", "owner@acme.example", "Olivia Okafor", "owner")
STAFF = Person("ADMIN", "staff@spoke.example", "Sam Staff", is_staff=True)
SECOND = Person("SECOND_USER", "guest@example.net", "Gita Guest")
RIVAL = Person("OUTSIDER", "owner@globex.example", "Hank Scorpio")
DEVELOPER = Person("DEVELOPER", "dev@acme.example", "Dev Duarte", "developer")
PEOPLE = (
    OWNER,
    Person("TEAM_ADMIN", "admin@acme.example", "Ada Admin", "admin"),
    DEVELOPER,
    Person("VIEWER", "viewer@acme.example", "Vera Viewer", "viewer"),
    SECOND,
    RIVAL,
    STAFF,
)
ORGANIZATION = ("acme", "Acme Robotics", "Schemas that our robots and services talk in.")
OTHER_ORGANIZATION = ("globex", "Globex", "A tenant of its own, invisible to Acme.")

# (plan, months after the beginning, days into that month): dearer at once, cheaper from its end.
CHANGES_OF_PLAN = (("enterprise", 4, 12), ("pro", 5, 20))
# The month, counted from 0, whose invoice staff took back, and why.
VOID_MONTH = 7
VOID_NOTE = "Waived: the registry was away for a day"
# How many compile jobs a month has beside a usual one, from the first month on.
SEASONS = (0.55, 0.7, 1.0, 1.25, 2.4, 2.9, 1.1, 0.9, 1.3, 1.6, 1.15, 1.0, 0.8)

COMMON = """syntax = "proto3";

package acme.common.v1;

// A position in millimetres, in the workshop's frame.
message Position {
  double x = 1;
  double y = 2;
  double z = 3;
}
"""
ROBOT = """syntax = "proto3";

package acme.robots.v1;

enum State {
  STATE_UNSPECIFIED = 0;
  STATE_IDLE = 1;
  STATE_MOVING = 2;
}

message Robot {
  string serial = 1;
  State state = 2;
}

service RobotService {
  rpc GetRobot(GetRobotRequest) returns (Robot);
}

message GetRobotRequest {
  string serial = 1;
}
"""
ROBOT_WITH_BATTERY = ROBOT.replace(
    "  State state = 2;\n", "  State state = 2;\n  // 0 to 100.\n  int32 battery_percent = 3;\n"
)
ORDER = """syntax = "proto3";

package acme.orders.v1;

message Order {
  string id = 1;
  // Minor units of the currency.
  int64 amount = 2;
  string currency = 3;
}
"""
TELEMETRY = """syntax = "proto3";

package acme.telemetry.v1;

message Reading {
  string serial = 1;
  int64 unix_millis = 2;
  double celsius = 3;
}
"""


@dataclass(frozen=True)
class Release:
    """A version of a module, published so many days after the organization began."""

    module: str
    description: str
    version: str
    day: int
    files: tuple[tuple[str, str], ...]


RELEASES = (
    Release("common", "Shared types", "1.0.0", 1, (("acme/common/v1/position.proto", COMMON),)),
    Release("robots", "The robot fleet", "1.0.0", 3, (("acme/robots/v1/robot.proto", ROBOT),)),
    Release("orders", "Orders of parts", "0.9.0", 10, (("acme/orders/v1/order.proto", ORDER),)),
    Release(
        "robots",
        "The robot fleet",
        "1.1.0",
        24,
        (("acme/robots/v1/robot.proto", ROBOT_WITH_BATTERY), ("README.md", "# Robots\n")),
    ),
    Release("orders", "Orders of parts", "1.0.0", 31, (("acme/orders/v1/order.proto", ORDER),)),
    Release(
        "telemetry",
        "What sensors report",
        "1.0.0-rc.1",
        52,
        (("acme/telemetry/v1/reading.proto", TELEMETRY),),
    ),
    Release(
        "telemetry",
        "What sensors report",
        "1.0.0",
        66,
        (("acme/telemetry/v1/reading.proto", TELEMETRY),),
    ),
)
