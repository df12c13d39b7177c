"""The package's version, told here once: for the package itself, and for the server as the user agent."""

VERSION = "0.1.0"
