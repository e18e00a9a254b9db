import { useEffect } from "react";

/** Sets the document's title, which screen readers announce first on a new page. */
export function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · Spandrel`;
  }, [title]);
}
