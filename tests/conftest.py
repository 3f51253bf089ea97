"""What the suite can be told on its command line."""


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="a thousand odd samples for the search, not two a family")
