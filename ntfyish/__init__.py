"""ntfyish: a self-hosted push-notification server that speaks Pushover's and ntfy's APIs."""

__version__ = "0.1.0"
