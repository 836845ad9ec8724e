-- Networks from which somebody logged in to an account: strangers who guess passwords do not lock it there.

CREATE TABLE login_networks (
  account TEXT NOT NULL,
  -- In CIDR notation: an IPv4 /24 or an IPv6 /64.
  network TEXT NOT NULL,
  -- The last log-in.
  at BIGINT NOT NULL,
  PRIMARY KEY (account, network)
);
