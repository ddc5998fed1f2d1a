"""``lab bouncer`` and ``python -m lab.bouncer``: options in, server out.

Names, defaults and environment variables of the options are those of kube-image-bouncer, so that a Deployment written
for it works as it stands. The server's libraries are imported only when it starts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from lab.errors import InputError

if TYPE_CHECKING:
    from lab.bouncer.certificates import CertificateFiles
    from lab.bouncer.policy_file import PolicyFile

DEFAULT_PORT = 1323
"""The port of the original kube-image-bouncer."""
PORT_MAX = 65535
_SERVICE_PORT_PREFIX = "tcp://"


def _port(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Read the port.

    A Service called ``bouncer`` makes Kubernetes set ``BOUNCER_PORT=tcp://10.96.0.7:443`` in every Pod of its
    namespace, this server's own included. That is not meant for it.
    """
    source = context.get_parameter_source(parameter.name or "")
    if source is ParameterSource.ENVIRONMENT and value.startswith(_SERVICE_PORT_PREFIX):
        return DEFAULT_PORT
    if not value.isascii() or not value.isdigit() or int(value) > PORT_MAX:
        message = f"{value!r} is not a port (0 to {PORT_MAX})"
        raise click.BadParameter(message, ctx=context, param=parameter)
    return int(value)


@click.command("bouncer", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--cert", envvar="BOUNCER_CERTIFICATE", type=click.Path(path_type=Path), metavar="FILE",
              help="Server certificate with its chain, PEM. Without --cert and --key: plain HTTP.")  # fmt: skip
@click.option("-k", "--key", envvar="BOUNCER_KEY", type=click.Path(path_type=Path), metavar="FILE",
              help="Private key of the certificate, PEM.")  # fmt: skip
@click.option("-p", "--port", envvar="BOUNCER_PORT", default=str(DEFAULT_PORT), show_default=True, callback=_port,
              metavar="PORT", help="Port to listen on; 0 takes a free one.")  # fmt: skip
@click.option("--address", envvar="BOUNCER_ADDRESS", default="", metavar="ADDRESS",
              help="Address to listen on.  [default: all interfaces]")  # fmt: skip
@click.option("--registry-whitelist", envvar="BOUNCER_REGISTRY_WHITELIST", metavar="HOST[/PATH],...",
              help="Registries whose images may run.  [default: all]")  # fmt: skip
@click.option("--policy", "policy_path", envvar="BOUNCER_POLICY", type=click.Path(path_type=Path), metavar="FILE",
              help="Policy file with rules on registries, tags and digests, YAML.  [default: none]")  # fmt: skip
@click.option("--client-ca", envvar="BOUNCER_CLIENT_CA", type=click.Path(path_type=Path), metavar="FILE",
              help="Require client certificates signed by this CA, PEM.  [default: ask for none]")  # fmt: skip
@click.option("--review-log", envvar="BOUNCER_REVIEW_LOG", type=click.Path(path_type=Path), metavar="FILE",
              help="Append a JSON line for each review.")  # fmt: skip
@click.option("--debug", envvar="BOUNCER_DEBUG", is_flag=True, help="Log whole reviews and answers.")
def bouncer_command(
    *,
    cert: Path | None,
    key: Path | None,
    port: int,
    address: str,
    registry_whitelist: str | None,
    policy_path: Path | None,
    client_ca: Path | None,
    review_log: Path | None,
    debug: bool,
) -> None:
    """Serve ImageReview and AdmissionReview webhooks that admit images by policy.

    An ImageReview may be posted to any path, an AdmissionReview (admission.k8s.io/v1) to /validate. GET /healthz
    answers ok. Certificates and policy are reloaded when their files change; SIGTERM drains.
    """
    from lab.bouncer.policy import RegistryPolicy  # noqa: PLC0415 - the server's libraries are heavy
    from lab.bouncer.server import Settings, run  # noqa: PLC0415

    settings = Settings(
        port=port,
        address=address,
        certificates=_certificates(cert, key, client_ca),
        policies=() if registry_whitelist is None else (RegistryPolicy.parse(registry_whitelist),),
        policy_file=None if policy_path is None else _policy_file(policy_path),
        review_log=review_log,
        debug=debug,
    )
    sys.exit(run(settings))


def _policy_file(path: Path) -> PolicyFile:
    from lab.bouncer.policy_file import PolicyFile  # noqa: PLC0415 - imports pydantic and yaml, needed by nothing else

    return PolicyFile(path)


def _certificates(cert: Path | None, key: Path | None, client_ca: Path | None) -> CertificateFiles | None:
    """The files for TLS; None for plain HTTP, as the original serves when neither is given."""
    from lab.bouncer.certificates import CertificateFiles  # noqa: PLC0415 - imports ssl

    if cert is not None and key is not None:
        return CertificateFiles(certificate=cert, key=key, client_ca=client_ca)
    if cert is not None or key is not None:
        raise InputError(
            "certificate-incomplete",
            "--cert and --key go together, and only one was given",
            hint="give both for https, or neither for plain HTTP",
        )
    if client_ca is not None:
        raise InputError(
            "client-ca-without-tls",
            "--client-ca needs https",
            hint="give --cert and --key too, or leave --client-ca out",
        )
    return None
