"""Files for a service of your own: an OpenAPI document or a browser session becomes a scenario."""
