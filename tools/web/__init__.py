"""The web app: the page, its REST interface, its history and its reports."""
