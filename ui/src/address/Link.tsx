/** A link to a page of the app: a plain anchor that does not reload the document. */
import type { AnchorHTMLAttributes, MouseEvent } from "react";
import { linkTo, navigate, useChosenTenants } from "./address";

interface Props extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href"> {
  /** A path as `routes.ts` builds it. */
  to: string;
}

export function Link({ to, onClick, children, ...rest }: Props) {
  // Renders again when the tenants change, which are part of the address.
  useChosenTenants();
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    const elsewhere = event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.button !== 0;
    if (elsewhere || event.defaultPrevented) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a {...rest} href={linkTo(to)} onClick={follow}>
      {children}
    </a>
  );
}
