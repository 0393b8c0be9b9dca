"""The worker process: what `dramatiq workers.main` loads."""

import logging

from infrastructure.processes.failpoints import arm
from infrastructure.settings import load_settings
from workers.broker import make_broker
from workers.projector import Projecting, declare_projector

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")

settings = load_settings()
arm(settings.failpoint)
broker = make_broker(settings)
projecting = Projecting(settings)
broker.add_middleware(projecting)
project = declare_projector(broker, projecting)
