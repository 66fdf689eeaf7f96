-- Where a client may have people led back to when they sign out (OpenID Connect RP-Initiated Logout 1.0).
alter table identity.clients add column post_logout_redirect_uris text[] not null default '{}';
