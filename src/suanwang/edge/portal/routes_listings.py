from fastapi import APIRouter
from suanwang.edge.portal.errors import PortalRoute
router = APIRouter(route_class=PortalRoute)
