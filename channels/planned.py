"""Templates of other systems' catalogues that have no adapter here yet: listed, so that nobody looks for them in vain."""

from channels.base import Capabilities, ChannelType, ReleaseStatus, Template

_NOTHING = Capabilities(text=False, verifies_without_sending=False)


def _planned(slug: str, key: str, channel: ChannelType, provider: str, title: str, documentation_url: str) -> Template:
    return Template(
        slug=slug,
        key=key,
        channel=channel,
        provider=provider,
        title=title,
        documentation_url=documentation_url,
        release_status=ReleaseStatus.BETA,
        capabilities=_NOTHING,
    )


_META = "https://developers.facebook.com/docs/messenger-platform"
PLANNED: tuple[Template, ...] = (
    _planned("sms-messagebird", "bird", ChannelType.SMS, "BIRD", "Bird SMS", "https://docs.bird.com/api"),
    _planned("email-messagebird", "birdEmail", ChannelType.EMAIL, "BIRD", "Bird e-mail", "https://docs.bird.com/api"),
    _planned("instagram", "instagram", ChannelType.INSTAGRAM, "META", "Instagram", f"{_META}/instagram"),
    _planned("facebook", "messenger", ChannelType.FACEBOOK, "META", "Facebook Messenger", _META),
    _planned("line", "line", ChannelType.LINE, "LINE", "LINE", "https://developers.line.biz/en/docs/messaging-api/"),
)
