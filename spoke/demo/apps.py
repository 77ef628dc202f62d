from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "spoke.demo"
    label = "demo"
