"""How the admin writes dates and times: so that they sort by eye, and no month has a name."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "Y-m-d H:i:s"
